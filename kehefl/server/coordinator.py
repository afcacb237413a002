"""The coordinator: the thin shell around a run. It feeds the round machine with messages and time, and carries out what
the machine decides: publishes manifests, folds, writes checkpoints, tells the event stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from kehefl.errors import KeheflError, ProtocolError, RefusedError, UsageError
from kehefl.federation.rounds import Action, Close, Fail, Finish, Nudge, Open, Verdict, Wait
from kehefl.federation.settings import RunSettings, parse_settings
from kehefl.federation.strategies import Strategy, load_strategy
from kehefl.models.base import Model
from kehefl.models.load import load_model
from kehefl.protocol.messages import Manifest, Reply, Update
from kehefl.server.announcer import Announcer
from kehefl.server.checkpoints import Checkpoints, Saved
from kehefl.server.events import DeviceRefused, Notice, RoundEvaluated, RoundPhase, RunChanged, RunStatus
from kehefl.server.measuring import RunReports
from kehefl.server.registry import Registry
from kehefl.server.run import OpenRound, Run
from kehefl.server.runlog import RunRow
from kehefl.server.stream import EventStream
from kehefl.server.telling import (
    round_closed,
    round_opened,
    round_phase,
    run_changed,
    run_started,
    update_received,
)

#: Devices report what a run cost them when it ends; one that does not is named and not waited for any longer.
REPORT_LIMIT_S: Final = 2.0
#: From here on (parameters x updates) the aggregation leaves the event loop.
AGGREGATE_INLINE: Final = 1 << 18


class Coordinator:
    """One run at a time. All methods are called on the event loop."""

    def __init__(
        self,
        *,
        announcer: Announcer,
        registry: Registry,
        stream: EventStream,
        checkpoints: Checkpoints,
        models: Mapping[str, Model],
        strategies: Mapping[str, Strategy],
        own: Callable[[Coroutine[Any, Any, None]], object],
        boot: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._boot = boot
        self._announcer = announcer
        self._registry = registry
        self._stream = stream
        self._checkpoints = checkpoints
        self._models = models
        self._strategies = strategies
        self._own = own
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._reports: RunReports | None = None
        self.run: Run | None = None
        #: Set while no run is going on.
        self.idle = asyncio.Event()
        self.idle.set()

    # What the operator wants ---------------------------------------------------------------------------------------

    def start(self, run_id: str, scenario: str, settings: RunSettings) -> None:
        """Begin a run. UsageError for an unknown model or strategy, RefusedError when it cannot begin now."""
        self._refuse_if_busy()
        if scenario != "federated":
            raise RefusedError(
                f"Scenario '{scenario}' cannot be run by this version of kehefl yet. Start the federated one: "
                "run start federated"
            )
        run = Run(
            run_id,
            settings,
            self._known_model(settings.model),
            self._strategies.get(settings.strategy) or load_strategy(settings.strategy),
            self._registry.common_columns(self._registry.available()),
        )
        self._begin(run, scenario, resumed_from=0)

    def resume_recorded(self, row: RunRow, expected: tuple[str, ...]) -> None:
        """Go on with a run that was interrupted, from its newest checkpoint, with the devices that it had then."""
        self._refuse_if_busy()
        if row.status == "done":
            raise RefusedError(f"Run {row.run} is done; there is nothing to resume. Start a new one: run start")
        if not row.checkpoint:
            raise RefusedError(f"Run {row.run} ended before its first checkpoint. Start it anew: run start")
        settings = msgspec.json.decode(row.settings, type=RunSettings)
        parameters, about = self._checkpoints.load(row.checkpoint, row.sha256)
        model = self._known_model(settings.model)
        strategy = self._strategies.get(settings.strategy) or load_strategy(settings.strategy)
        run = Run(
            row.run, settings, model, strategy, (about.features, about.target), first_round=row.rounds_completed + 1
        )
        run.restore(parameters, about)
        run.checkpoint = (row.checkpoint, row.sha256)
        self._begin(run, row.scenario, resumed_from=row.rounds_completed + 1, expected=expected)

    def pause(self) -> str:
        run = self._active()
        if run.machine.paused:
            raise RefusedError("The run is paused already. Go on with: run resume")
        self._carry_out(run.machine.pause(self._clock()))
        self._stream.emit(self._changed(run, "paused", "paused by the operator"), durable=True)
        self._tell_phase(run)
        return "paused; the open round may finish, no further one opens"

    def resume(self) -> str:
        run = self._active()
        if not run.machine.paused:
            raise RefusedError("The run is not paused.")
        self._stream.emit(self._changed(run, "running", "resumed by the operator"), durable=True)
        actions = run.machine.resume(self._clock())
        self._tell_phase(run)
        self._carry_out(actions)
        return "going on"

    def abort(self, reason: str) -> str:
        run = self._active()
        self._carry_out(run.machine.abort(reason))
        return f"run {run.run} aborted in round {run.machine.round}"

    def fail(self, reason: str) -> None:
        """End a run that is going on as failed."""
        if self.run is not None and self.run.machine.phase != "ended":
            self._carry_out(self.run.machine.fail(reason))

    def interrupt(self, reason: str) -> None:
        """The server stops while a run is going on: it is kept as it is, to be resumed."""
        run = self._active()
        self._announcer.end(run)
        try:
            self._stream.emit(self._changed(run, "interrupted", reason), durable=True)
        finally:
            self.run = None
            self.idle.set()
            self._arm()

    def change(self, values: Mapping[str, str]) -> str:
        """`round set`: deadline and quorum of the run, at once."""
        run = self._active()
        if not values:
            raise UsageError("Nothing to set. For example: round set deadline=30s quorum=0.8")
        settings = parse_settings(values, run.settings)
        actions = run.machine.change(settings, self._clock())
        self._tell_phase(run)
        self._carry_out(actions)
        return f"deadline {settings.deadline:g} s, quorum {settings.quorum:g}"

    # What happens --------------------------------------------------------------------------------------------------

    def device_available(self, device: str) -> None:
        """A device was born, came back or was readmitted."""
        if self.run is not None:
            self._carry_out(self.run.machine.device_ready(device, self._clock()))

    def device_lost(self, device: str) -> None:
        if self.run is not None:
            self._carry_out(self.run.machine.device_lost(device))

    def device_left(self, device: str, reason: str = "") -> None:
        """A device left in good order, or the operator took it out."""
        if self.run is not None:
            self._carry_out(self.run.machine.device_left(device, reason, self._clock()))

    def link_up(self) -> None:
        """The broker is (again) there: it may have lost what it retained, and what was sent to us meanwhile."""
        self._announcer.announce_again()
        if self.run is not None:
            self._carry_out(self.run.machine.nudge(self._clock()))

    def take_manifest(self, manifest: Manifest) -> None:
        """A retained order. One of a server that is gone is taken back: devices must not work for nobody."""
        if manifest.server != self._boot and manifest.state == "open" and self.run is None:
            self._announcer.end_foreign(manifest)
            text = f"Took back round {manifest.round} of run {manifest.run}, which a server that is gone had left open."
            self._stream.emit(Notice(level="info", text=text))

    def take_update(self, update: Update, body: memoryview, packet_bytes: int) -> None:
        """An update whose device and boot are known. ProtocolError says why it is not accepted."""
        run = self.run
        if run is None or update.run != run.run:
            raise ProtocolError(f"The update is for run '{update.run}', which is not going on.")
        verdict = run.machine.judge(update.device, update.round, update.attempt)
        match verdict:
            case Verdict.DUPLICATE:
                return
            case Verdict.LATE:
                self._stream.emit(update_received(run, update, len(body), self._clock(), late=True))
                return
            case Verdict.STALE:
                raise ProtocolError(
                    f"The update is for round {update.round}, attempt {update.attempt}: not the open one."
                )
            case Verdict.FOREIGN:
                raise ProtocolError(f"'{update.device}' is not in the cohort of round {update.round}.")
        if run.open is not None:
            run.open.received_bytes += packet_bytes
        known = self._registry.get(update.device)
        if not run.gather(update, body, verdict, known.birth.rows_train if known else 0):
            return
        now = self._clock()
        if run.open is not None:
            if run.open.first_at is None:
                run.open.first_at = now
                self._stream.emit(
                    RoundPhase(run=run.run, round=run.machine.round, attempt=run.machine.attempt, phase="collecting")
                )
            run.open.last_at = now
        late = verdict is Verdict.ACCEPT_LATE
        self._stream.emit(update_received(run, update, len(body), now, late=late))
        self._carry_out(run.machine.accept(update.device, now))

    def take_reply(self, reply: Reply) -> None:
        """A device refused its round, or reported what the run cost it."""
        if reply.verb == "report" and self._reports is not None and reply.run == self._reports.run:
            self._reports.add(reply.device, reply.meter)
        run = self.run
        if reply.verb != "round" or reply.ok or run is None or reply.run != run.run:
            return
        machine, reason = run.machine, reply.reason or "no reason given"
        if (reply.round, reply.attempt) == (machine.round, machine.attempt) and reply.device in machine.outstanding:
            self._stream.emit(
                DeviceRefused(run=run.run, round=reply.round, attempt=reply.attempt, device=reply.device, reason=reason)
            )
            self.device_left(reply.device, reason)

    # Carrying out --------------------------------------------------------------------------------------------------

    def _begin(self, run: Run, scenario: str, *, resumed_from: int, expected: tuple[str, ...] = ()) -> None:
        self.run = run
        self.idle.clear()
        self._reports = RunReports(run.run)
        try:
            self._stream.emit(run_started(run, scenario, resumed_from), durable=True)
        except KeheflError:
            self.run = None
            self.idle.set()
            raise
        self._carry_out(run.machine.begin(self._registry.available(), self._clock(), expected))

    def _carry_out(self, actions: list[Action]) -> None:
        try:
            self._do(actions)
        except KeheflError as error:
            # What cannot be recorded is not done: the run ends, with what was recorded last.
            if self.run is not None:
                self._do(self.run.machine.fail(str(error)))
        self._arm()

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            run = self.run
            if run is None:
                return
            match action:
                case Open():
                    self._open(run, action)
                case Close():
                    self._close(run, action)
                case Fail():
                    self._record_failure(run, action)
                case Wait():
                    self._tell_phase(run, action.reason)
                case Nudge():
                    self._announcer.nudge(run, action.devices)
                case Finish():
                    self._finish(run, action)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self.run.machine.wake_at() if self.run is not None else None
        if wake_at is not None:
            delay = max(0.0, wake_at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.run is not None:
            self._carry_out(self.run.machine.tick(self._clock()))

    def _open(self, run: Run, order: Open) -> None:
        if not run.features:
            # The run was started before any device was there; now the first ones are.
            run.features, run.target = self._registry.common_columns(list(order.cohort))
        now = self._clock()
        run.begin_round(OpenRound(order, now, now))
        self._stream.emit(round_opened(run, order), durable=True)
        if run.open is not None:
            run.open.sent_bytes = self._announcer.announce(run, order)
            run.open.announced_at = self._clock()
        self._stream.emit(RoundPhase(run=run.run, round=order.round, attempt=order.attempt, phase="training"))

    def _close(self, run: Run, close: Close) -> None:
        self._stream.emit(RoundPhase(run=run.run, round=close.round, attempt=close.attempt, phase="aggregating"))
        size = 0 if run.vector is None else len(run.vector)
        if close.task == "train" and size * len(close.responded) > AGGREGATE_INLINE:
            self._own(self._close_in_thread(run, close))
            return
        try:
            self._conclude(run, close, run.aggregate() if close.task == "train" else None)
        except Exception as error:  # noqa: BLE001 - whatever it is, a run that cannot conclude a round must end
            self.fail(_not_concluded(close, error))

    async def _close_in_thread(self, run: Run, close: Close) -> None:
        try:
            result = await asyncio.to_thread(run.aggregate)
            if run.machine.phase == "closing":
                self._conclude(run, close, result)
        except Exception as error:  # noqa: BLE001 - whatever it is, a run that cannot conclude a round must end
            self.fail(_not_concluded(close, error))

    def _conclude(self, run: Run, close: Close, result: tuple[np.ndarray, float, bool] | None) -> None:
        began = self._clock()
        norm, exact, saved = None, True, Saved("", "")
        if close.task == "statistics":
            run.finish_statistics()
        else:
            self._tell_evaluation(run, close.round - 1)
        if result is not None:
            vector, norm, exact = result
            run.adopt(vector)
        if close.task != "evaluate" and run.vector is not None:
            saved = self._checkpoints.save(run.run, close.round, run.vector, run.specs, run.about())
            run.checkpoint = (saved.path, saved.sha256)
        self._stream.emit(
            msgspec.structs.replace(
                round_closed(run, close, "done", self._clock(), aggregating_since=began),
                loss=run.train_loss(),
                change_norm=norm,
                exact_order=exact,
                checkpoint=saved.path,
                checkpoint_sha256=saved.sha256,
            ),
            durable=True,
        )
        self._carry_out(run.machine.closed(self._clock()))

    def _record_failure(self, run: Run, fail: Fail) -> None:
        close = Close(fail.round, fail.attempt, fail.task, fail.responded, fail.missing)
        self._stream.emit(round_closed(run, close, "failed", self._clock(), reason=fail.reason), durable=True)

    def _finish(self, run: Run, finish: Finish) -> None:
        machine = run.machine
        if finish.status == "aborted" and run.open is not None and machine.outstanding:
            responded = tuple(sorted(machine.responded))
            close = Close(machine.round, machine.attempt, machine.task, responded, machine.outstanding)
            self._stream.emit(round_closed(run, close, "aborted", self._clock(), reason=finish.reason))
        self._announcer.end(run)
        self._own(self._conclude_run(run, finish))

    async def _conclude_run(self, run: Run, finish: Finish) -> None:
        """Wait a little for the devices' reports, then say that the run is over."""
        reports = self._reports
        expected = [device for device in run.machine.members if device in self._registry.available()]
        try:
            if reports is not None:
                await reports.wait(expected, REPORT_LIMIT_S)
                self._stream.emit(reports.measured(self._announcer.traffic(), expected))
            self._stream.emit(self._changed(run, finish.status, finish.reason), durable=True)
        except KeheflError as error:
            self._stream.emit(Notice(level="error", text=str(error)))
        finally:
            self.run, self._reports = None, None
            self.idle.set()
            self._arm()

    def _tell_evaluation(self, run: Run, round_: int) -> None:
        pooled, per_device = run.evaluation()
        if pooled:
            run.metrics = pooled
            self._stream.emit(RoundEvaluated(run=run.run, round=round_, metrics=pooled, per_device=per_device))

    def _tell_phase(self, run: Run, reason: str = "") -> None:
        self._stream.emit(round_phase(run, self._clock(), reason))

    def _changed(self, run: Run, status: RunStatus, reason: str) -> RunChanged:
        path = run.checkpoint[0]
        return run_changed(run, status, reason, str(self._checkpoints.absolute(path)) if path else "")

    def _known_model(self, name: str) -> Model:
        """A model that was named when the server started, or that ships or is installed with kehefl. A command never
        imports a module: commands also come over the network."""
        if name in self._models:
            return self._models[name]
        if ":" in name:
            raise RefusedError(f"Model '{name}' was not named when the server started. Start it with --model {name}")
        return load_model(name)

    def _active(self) -> Run:
        if self.run is None or self.run.machine.phase == "ended":
            raise RefusedError("No run is going on. Start one: run start federated")
        return self.run

    def _refuse_if_busy(self) -> None:
        if self.run is not None:
            raise RefusedError(f"Run {self.run.run} is still going on. Wait for its end, or: run abort")


def _not_concluded(close: Close, error: Exception) -> str:
    known = isinstance(error, KeheflError | OSError)
    return f"Round {close.round} could not be concluded: {'' if known else type(error).__name__ + ': '}{error}"
