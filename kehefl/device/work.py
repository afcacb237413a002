"""What a device computes in a round. Pure: rows and an order in, an outcome out; for a thread or another process."""

from __future__ import annotations

import hashlib
import time
from typing import Final

import msgspec
import numpy as np

from kehefl.data.shard import Shard
from kehefl.errors import RefusedError
from kehefl.federation.evaluation import regression_sums
from kehefl.federation.statistics import standardise, standardise_target, sums_of
from kehefl.models.base import Array, Model, Report
from kehefl.protocol.messages import Standardisation, TensorSpec, TrainingSettings
from kehefl.protocol.tensors import flatten, specs_of, unflatten


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One round's work for one device. `vector` is the global model, float32 little-endian, shaped by `specs`."""

    device: str
    round: int
    task: str
    vector: bytes = b""
    specs: tuple[TensorSpec, ...] = ()
    training: TrainingSettings | None = None
    standardisation: Standardisation | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order. `body` are the tensor bytes to send, shaped by `specs`; empty for an evaluation."""

    weight: int
    body: bytes = b""
    specs: tuple[TensorSpec, ...] = ()
    loss: float | None = None
    evaluation: dict[str, float] | None = None
    train_s: float = 0.0
    train_cpu_s: float = 0.0


#: Sums travel as float64: squares of large values lose too much in float32.
_SUMS_DTYPE: Final = "<f8"


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on nothing but `parts`, the same on every machine and in every process."""
    text = "/".join(str(part) for part in parts)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))


class Worker:
    """The rows of one device, standardised once a run, and the models it can train."""

    def __init__(self, shard: Shard, models: dict[str, Model]) -> None:
        self.shard = shard
        self.models = models
        self._reference: Standardisation | None = None
        self._rows: tuple[Array, Array, Array] | None = None

    def carry_out(self, order: Order, report: Report) -> Outcome:
        """Do what `order` says. Raises RefusedError when it cannot be done here, TrainingCancelled out of `report`."""
        if order.task == "statistics":
            sums = sums_of(self.shard.x_train, self.shard.y_train).astype(_SUMS_DTYPE)
            spec = TensorSpec("sums", "f8", (len(sums),))
            return Outcome(weight=len(self.shard.y_train), body=sums.tobytes(), specs=(spec,))
        settings, reference = order.training, order.standardisation
        if settings is None or reference is None:
            raise RefusedError("The manifest lacks training settings or standardisation.")
        model = self.models[settings.model]
        parameters = unflatten(np.frombuffer(order.vector, "<f4"), order.specs)
        x, y, x_test = self._standardised(reference)
        predicted = model.predict(parameters, x_test) * reference.target_scale + reference.target_mean
        evaluation = regression_sums(self.shard.y_test, predicted)
        if order.task == "evaluate":
            return Outcome(weight=len(y), evaluation=evaluation)
        began, cpu_began = time.perf_counter(), time.thread_time()
        trained = model.train(
            parameters,
            x,
            y,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            rng=seeded(settings.seed, order.round, order.device),
            report=report,
        )
        train_s, train_cpu_s = time.perf_counter() - began, time.thread_time() - cpu_began
        vector = flatten(trained.parameters)
        if specs_of(trained.parameters) != order.specs:
            raise RefusedError(f"Model '{settings.model}' returned parameters of another shape than it was given.")
        if not np.isfinite(vector).all():
            raise RefusedError("Training diverged to infinite parameters. Lower the learning rate (learning_rate=).")
        return Outcome(
            weight=len(y),
            body=vector.astype("<f4").tobytes(),
            specs=order.specs,
            loss=float(trained.loss),
            evaluation=evaluation,
            train_s=train_s,
            train_cpu_s=train_cpu_s,
        )

    def _standardised(self, reference: Standardisation) -> tuple[Array, Array, Array]:
        if self._rows is None or self._reference != reference:
            self._rows = (
                standardise(self.shard.x_train, reference),
                standardise_target(self.shard.y_train, reference),
                standardise(self.shard.x_test, reference),
            )
            self._reference = reference
        return self._rows
