"""One run in the server's memory: its settings, the global model, and what the open round has gathered so far.

This is the arithmetic of a run, without link, log or clock; the coordinator decides when it happens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from kehefl.errors import DataError, ProtocolError
from kehefl.federation.evaluation import metrics_of, pool, valid_sums
from kehefl.federation.fold import Fold, change_norm
from kehefl.federation.rounds import Open, RunMachine, Task, Verdict
from kehefl.federation.settings import RunSettings
from kehefl.federation.statistics import plausible, standardisation_of, sums_spec
from kehefl.federation.strategies import Strategy
from kehefl.models.base import Model
from kehefl.protocol.messages import Payload, Standardisation, TensorSpec, TrainingSettings, Update
from kehefl.protocol.tensors import Assembly, Vector, flatten, read_sums, read_vector, specs_of
from kehefl.server.checkpoints import About


@dataclass(slots=True)
class OpenRound:
    """What the coordinator knows of the announced round. Times are seconds of the coordinator's clock."""

    order: Open
    opened_at: float
    announced_at: float
    first_at: float | None = None
    last_at: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0


class Run:
    """A federated run. `machine` decides how it proceeds; this holds what it is about."""

    def __init__(
        self,
        run: str,
        settings: RunSettings,
        model: Model,
        strategy: Strategy,
        columns: tuple[tuple[str, ...], str],
        *,
        first_round: int = 0,
    ) -> None:
        self.run = run
        self.model = model
        self.strategy = strategy
        self.features, self.target = columns
        self.machine = RunMachine(settings, first_round=first_round)
        self.standardisation: Standardisation | None = None
        self.vector: Vector | None = None
        self.specs: tuple[TensorSpec, ...] = ()
        self.open: OpenRound | None = None
        self.metrics: dict[str, float] = {}
        self.checkpoint = ("", "")
        self._previous: Vector | None = None
        self._fold: Fold | None = None
        self._sums: dict[str, np.ndarray] = {}
        self._evaluations: dict[str, dict[str, float]] = {}
        self._losses: dict[str, tuple[float, int]] = {}
        self._assemblies: dict[str, Assembly] = {}

    @property
    def settings(self) -> RunSettings:
        return self.machine.settings

    def training_settings(self) -> TrainingSettings:
        settings = self.settings
        return TrainingSettings(
            model=settings.model,
            epochs=settings.local_epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
        )

    def about(self) -> About:
        """What a checkpoint of this run says of itself."""
        if self.standardisation is None:
            raise ProtocolError("The run has no standardisation before its first round.")
        return About(
            model=self.settings.model,
            features=self.features,
            target=self.target,
            standardisation=self.standardisation,
        )

    def restore(self, parameters: dict[str, np.ndarray], about: About) -> None:
        """Take up a checkpoint again. DataError when its model has other parameters than this run's."""
        initial = self.model.initialise(len(about.features), _seeded(self.settings.seed))
        self.specs = specs_of(initial)
        # A file keeps the names in an order of its own; the model's order is the one on the wire.
        ordered = {name: parameters[name] for name in initial if name in parameters}
        if specs_of(ordered) != self.specs or len(parameters) != len(initial):
            raise DataError(f"The checkpoint does not fit the model '{self.settings.model}'. Start the run anew.")
        self.vector, self.standardisation = flatten(ordered), about.standardisation
        self.features, self.target = about.features, about.target

    # Gathering -----------------------------------------------------------------------------------------------------

    def begin_round(self, round_: OpenRound) -> None:
        """Forget what the round before gathered."""
        self.open = round_
        size = 0 if self.vector is None else len(self.vector)
        self._fold = Fold(self.strategy, size) if round_.order.task == "train" else None
        self._sums, self._evaluations, self._losses, self._assemblies = {}, {}, {}, {}

    def gather(self, update: Update, body: memoryview, verdict: Verdict, rows: int) -> bool:
        """Take an update, or one part of it, that the machine judged acceptable. True when it is complete and stored.

        `rows` is how many training rows the device said at its birth to have. Raises ProtocolError when the update
        breaks its round's rules; then nothing of it was stored.
        """
        task: Task = "train" if verdict is Verdict.ACCEPT_LATE else self.machine.task
        if update.task != task:
            raise ProtocolError(f"The update answers '{update.task}', this round asks for '{task}'.")
        if update.weight != rows:
            raise ProtocolError(f"The update claims {update.weight} training rows, the device has {rows}.")
        if update.loss is not None and not math.isfinite(update.loss):
            raise ProtocolError("The training loss is not a number.")
        if update.evaluation is not None and not valid_sums(update.evaluation):
            raise ProtocolError("The evaluation sums cannot come from an evaluation.")
        if task == "evaluate":
            return self._gather_evaluation(update)
        complete = self._assemble(update, body, sums_spec(len(self.features)) if task == "statistics" else self.specs)
        if complete is None:
            return False
        if task == "statistics":
            self._gather_sums(update, complete)
        else:
            self._gather_model(update, complete, late=verdict is Verdict.ACCEPT_LATE)
        return True

    def missing_parts(self, device: str) -> tuple[int, ...]:
        """Parts of a device's update that lack; empty when none of it came."""
        assembly = self._assemblies.get(device)
        return assembly.missing() if assembly else ()

    def _assemble(self, update: Update, body: memoryview, specs: tuple[TensorSpec, ...]) -> memoryview | None:
        payload: Payload | None = update.payload
        if payload is None:
            raise ProtocolError("The update carries no tensors.")
        assembly = self._assemblies.get(update.device)
        if assembly is None or assembly.digest != payload.digest:
            assembly = Assembly(payload, specs)
        assembly.add(payload, body)
        if not assembly.complete:
            self._assemblies[update.device] = assembly
            return None
        self._assemblies.pop(update.device, None)
        return assembly.body()

    def _gather_sums(self, update: Update, body: memoryview) -> None:
        sums = read_sums(body)
        if not plausible(sums) or sums[0] != update.weight:
            raise ProtocolError("The feature sums cannot come from the device's rows.")
        self._sums[update.device] = sums

    def _gather_model(self, update: Update, body: memoryview, *, late: bool) -> None:
        if update.weight < 1 or self._fold is None:
            raise ProtocolError("The update has no training rows behind it.")
        vector = read_vector(body, self.specs)
        if late and self.vector is not None and self._previous is not None:
            # A late update was trained from the model before: what it learned is added to the present one.
            vector = self.vector + (vector - self._previous)
        self._fold.add(update.device, vector, float(update.weight))
        if update.loss is not None:
            self._losses[update.device] = (update.loss, update.weight)
        if update.evaluation is not None and not late:
            self._evaluations[update.device] = update.evaluation

    def _gather_evaluation(self, update: Update) -> bool:
        if update.evaluation is None:
            raise ProtocolError("The update carries no evaluation.")
        self._evaluations[update.device] = update.evaluation
        return True

    # Results -------------------------------------------------------------------------------------------------------

    def finish_statistics(self) -> None:
        """Standardisation from the gathered sums, and the model before any training."""
        self.standardisation = standardisation_of(self._sums)
        initial = self.model.initialise(len(self.features), _seeded(self.settings.seed))
        self.vector, self.specs = flatten(initial), specs_of(initial)

    def aggregate(self) -> tuple[Vector, float, bool]:
        """The next global model, the norm of its change, and whether it is independent of the order of arrival.

        Changes nothing, so that it may run in a thread; `adopt` takes the result. ProtocolError when it is not finite.
        """
        if self._fold is None or self.vector is None:
            raise ProtocolError("There is nothing to aggregate in this round.")
        vector = self._fold.result()
        norm = change_norm(self.vector, vector)
        if not math.isfinite(norm):
            raise ProtocolError("The aggregated model is not finite. Lower the learning rate (learning_rate=).")
        return vector, norm, self._fold.exact_order

    def adopt(self, vector: Vector) -> None:
        """The aggregated model becomes the global one."""
        self._previous = self.vector if self.settings.late == "next-round" else None
        self.vector = vector

    def train_loss(self) -> float | None:
        """Mean training loss of the round, weighted by rows."""
        rows = sum(weight for _, weight in self._losses.values())
        return sum(loss * weight for loss, weight in self._losses.values()) / rows if rows else None

    def evaluation(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Metrics of the model that this round was announced with: pooled, and per device."""
        if not self._evaluations:
            return {}, {}
        devices = sorted(self._evaluations)
        pooled = metrics_of(pool(self._evaluations[device] for device in devices))
        return pooled, {device: metrics_of(self._evaluations[device]) for device in devices}

    def settings_as_values(self) -> dict[str, str | int | float | bool | None]:
        """The settings as plain values, for the event stream."""
        values: dict[str, str | int | float | bool | None] = msgspec.to_builtins(self.settings)
        return values


def _seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 0])
