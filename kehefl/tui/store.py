"""From events to what is shown: `reduce` folds one event into a `Store`. No clock, no I/O, no Textual.

Events may come twice, late or out of order (a face that attaches, a replay that jumps): every one of them can be taken
at any time. What changed is noted in `Store.dirty`, which the tick empties; nothing is drawn from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from kehefl.server import events as e
from kehefl.tui import figures
from kehefl.tui.records import (
    FIGURES_KEPT,
    LOG_KEPT,
    ROUNDS_KEPT,
    ROUNDS_WITH_ANSWERS,
    Answer,
    Device,
    DeviceRound,
    Figures,
    Link,
    LogLine,
    Round,
    Run,
    Server,
    Task,
)

#: In `Store.dirty`, beside ids of devices (which cannot hold a space).
LINK: Final = " link"
RUN: Final = " run"
ROUNDS: Final = " rounds"
LOG: Final = " log"
SERVER: Final = " server"
#: States in which nothing is to be expected of a device.
GONE: Final = frozenset({"lost", "leaving", "evicted"})


class Store:
    """Everything known, as of `seq`."""

    def __init__(self) -> None:
        self.seq = -1
        self.last_at = 0.0
        self.link = Link()
        self.server = Server()
        self.devices: dict[str, Device] = {}
        self.run: Run | None = None
        self.rounds: dict[tuple[int, int], Round] = {}
        self.log: deque[LogLine] = deque(maxlen=LOG_KEPT)
        self.logged = 0
        self.waiting = ""
        self.unknown: set[str] = set()
        self.dirty: set[str] = set()

    def take_dirty(self) -> set[str]:
        """What changed since the last call."""
        taken, self.dirty = self.dirty, set()
        return taken

    @property
    def round(self) -> Round | None:
        """The latest round attempt."""
        return self.rounds[next(reversed(self.rounds))] if self.rounds else None

    def note(self, at: float, level: e.Level, tag: str, text: str, device: str = "") -> None:
        """Add a line to the log, and to that of the device it is about."""
        self.logged += 1
        line = LogLine(self.logged, at, level, tag, text, device)
        self.log.append(line)
        self.dirty.add(LOG)
        if device in self.devices:
            self.devices[device].log.append(line)

    def device(self, name: str) -> Device:
        self.dirty.add(name)
        known = self.devices.get(name)
        if known is None:
            known = self.devices[name] = Device(name)
        return known


def reduce(store: Store, stamped: e.Stamped) -> Store:
    """Fold one event into `store` and return it."""
    store.seq = max(store.seq, stamped.seq)
    store.last_at = max(store.last_at, stamped.at)
    reducer = _REDUCERS.get(type(stamped.event))
    if reducer is not None:
        reducer(store, stamped.at, stamped.event)
    elif (kind := type(stamped.event).__name__) not in store.unknown:
        # A newer core may tell more than this console can show.
        store.unknown.add(kind)
        store.note(stamped.at, "info", "CONSOLE", f"events of the kind {kind} are not shown by this console")
    return store


def _notice(store: Store, at: float, event: e.Notice) -> None:
    store.note(at, event.level, "NOTE", event.text)


def _link_changed(store: Store, at: float, event: e.LinkChanged) -> None:
    retry_at = None if event.retry_in_s is None else at + event.retry_in_s
    was = store.link
    since = was.since if was.state == event.state else at
    ever_up = was.ever_up or event.ever_up or event.state == "up"
    store.link = Link(
        event.state, event.broker, event.broker_kind, event.mqtt, event.reason, event.attempt, since, retry_at, ever_up
    )
    store.dirty.add(LINK)
    if was.state != event.state:
        level: e.Level = "error" if event.state == "refused" else "warning" if event.state == "lost" else "info"
        where = "" if event.broker in event.reason else f" {event.broker}"
        why = f": {event.reason}" if event.reason else ""
        store.note(at, level, "LINK", f"broker {event.state}{where}{why}")


def _device_changed(store: Store, at: float, event: e.DeviceChanged) -> None:
    is_new = event.device not in store.devices
    device = store.device(event.device)
    changed = is_new or device.state != event.state or device.reason != event.reason
    if changed:
        device.since = at
    device.state, device.reason = event.state, event.reason
    if event.software or event.features or event.rows_train or device.birth is None:
        device.birth = event
    if event.state not in GONE:
        device.seen_at = max(at, device.seen_at or at)
    if changed:
        level: e.Level = "warning" if event.state in {"lost", "evicted"} else "info"
        rows = f", {event.rows_train} rows to train on" if is_new and event.rows_train else ""
        why = f": {event.reason}" if event.reason else ""
        store.note(at, level, "DEVICE", f"{event.device} {event.state}{why}{rows}", event.device)


def _device_telemetry(store: Store, at: float, event: e.DeviceTelemetry) -> None:
    device = store.device(event.device)
    device.reading = event
    device.seen_at = max(at, device.seen_at or at)
    device.cpu.append(event.cpu_percent)
    device.memory.append(event.rss_mib)
    if event.round == device.round and device.answer == "asked":
        device.progress = event.progress
    elif event.progress and device.round is None:
        device.round, device.progress = event.round, event.progress
    if event.loss is not None:
        device.loss = event.loss


def _server_telemetry(store: Store, at: float, event: e.ServerTelemetry) -> None:
    store.server.reading = event
    store.server.cpu.append(event.cpu_percent)
    store.dirty.add(SERVER)


def _run_started(store: Store, at: float, event: e.RunStarted) -> None:
    run = _run(store, at, event.run)
    run.scenario, run.rounds, run.settings = event.scenario, event.rounds, event.settings
    run.started_at = run.changed_at = at
    run.resumed_from = run.completed = event.resumed_from_round
    resumed = f", resumed from round {event.resumed_from_round}" if event.resumed_from_round else ""
    store.note(at, "info", "RUN", f"{event.run} started: {event.scenario}, {event.rounds} rounds{resumed}")


def _run_changed(store: Store, at: float, event: e.RunChanged) -> None:
    run = _run(store, at, event.run)
    current = store.round
    if current is not None and current.closed_at is None and event.status != run.status:
        if event.status == "paused":
            current.deadline_left_s -= at - current.deadline_from
        current.deadline_from = at
    run.status, run.reason, run.changed_at = event.status, event.reason, at
    run.completed = max(run.completed, event.rounds_completed)
    run.metrics = event.metrics or run.metrics
    run.model_path = event.model_path or run.model_path
    run.model_sha256 = event.model_sha256 or run.model_sha256
    store.waiting = ""
    level: e.Level = "error" if event.status == "failed" else "warning" if event.status == "aborted" else "info"
    why = f": {event.reason}" if event.reason else ""
    store.note(at, level, "RUN", f"{event.run} {event.status}{why}")


def _round_opened(store: Store, at: float, event: e.RoundOpened) -> None:
    run = _run(store, at, event.run)
    round_ = _round(store, at, event.run, event.round, event.attempt)
    round_.task, round_.cohort = event.task, len(event.cohort) + len(event.carried)
    round_.needed, round_.opened_at = event.needed, at
    round_.deadline_s = round_.deadline_left_s = event.deadline_s
    round_.deadline_from = at
    store.waiting = ""
    for name in (*event.cohort, *event.carried):
        device = store.device(name)
        asked = round_.answers.get(name)
        if asked is None:
            asked = round_.answers[name] = DeviceRound(event.round, event.attempt, event.task)
            device.rounds.append(asked)
            device.round, device.answer, device.progress = event.round, "asked", 0.0
    for old in list(store.rounds.values())[:-ROUNDS_WITH_ANSWERS]:
        old.answers = {}
    while len(store.rounds) > ROUNDS_KEPT:
        del store.rounds[next(iter(store.rounds))]
    store.note(at, "info", tag(run, event.round, event.task), f"opened for {round_.cohort}, needs {event.needed}")


def _round_phase(store: Store, at: float, event: e.RoundPhase) -> None:
    run = _run(store, at, event.run)
    if event.phase == "waiting":
        if store.waiting != event.reason:
            store.note(at, "warning", "RUN", event.reason or f"waiting for devices before round {event.round}")
        store.waiting = event.reason or "too few devices are ready"
        return
    store.waiting = ""
    round_ = _round(store, at, event.run, event.round, event.attempt)
    if event.deadline_in_s is not None:
        round_.deadline_left_s, round_.deadline_from = event.deadline_in_s, at
    if not round_.phases or round_.phases[-1][0] != event.phase:
        round_.phases.append((event.phase, at))
    if round_.closed_at is None:
        round_.phase = event.phase
    if event.reason:
        store.note(at, "info", tag(run, event.round, round_.task), event.reason)


def _update_received(store: Store, at: float, event: e.UpdateReceived) -> None:
    run = _run(store, at, event.run)
    round_ = _round(store, at, event.run, event.round, event.attempt)
    answer: Answer = "late" if event.late else "sent"
    done = _answer(store, round_, event.device, answer)
    if done.after_s is None:
        round_.responded += 1
        round_.received_payload += event.payload_bytes
    done.after_s, done.download_s, done.train_s = event.after_s, event.download_s, event.train_s
    done.payload_bytes, done.loss = event.payload_bytes, event.loss
    device = store.devices[event.device]
    device.seen_at = max(at, device.seen_at or at)
    device.progress = 1.0
    if event.loss is not None:
        device.loss = event.loss
        device.losses.append(event.loss)
    late = " late" if event.late else ""
    text = f"{event.device} update{late} {figures.size(event.payload_bytes)}"
    store.note(at, "info", tag(run, event.round, round_.task), text, event.device)


def _device_refused(store: Store, at: float, event: e.DeviceRefused) -> None:
    run = _run(store, at, event.run)
    round_ = _round(store, at, event.run, event.round, event.attempt)
    round_.refused[event.device] = event.reason
    _answer(store, round_, event.device, "refused").reason = event.reason
    store.note(
        at, "warning", tag(run, event.round, round_.task), f"{event.device} refused: {event.reason}", event.device
    )


def _round_closed(store: Store, at: float, event: e.RoundClosed) -> None:
    run = _run(store, at, event.run)
    round_ = _round(store, at, event.run, event.round, event.attempt)
    first = round_.closed_at is None
    round_.task, round_.outcome, round_.reason = event.task, event.outcome, event.reason
    round_.closed_at, round_.phase = at, "done" if event.outcome == "done" else "failed"
    round_.cohort, round_.responded = event.cohort_size, len(event.responded)
    round_.missing, round_.wall_s = event.missing, event.wall_s
    round_.spent = {
        "announce": event.announce_s,
        "train": event.train_s,
        "collect": event.collect_s,
        "aggregate": event.aggregate_s,
    }
    round_.received_bytes, round_.sent_bytes = event.received_bytes, event.sent_bytes
    round_.loss, round_.change_norm, round_.exact_order = event.loss, event.change_norm, event.exact_order
    for name in event.missing:
        _answer(store, round_, name, "missed")
    for name in event.responded:
        # A face that attached later did not see every answer.
        if name not in round_.answers or round_.answers[name].answer == "asked":
            _answer(store, round_, name, "sent")
    if first:
        run.received_bytes += event.received_bytes
        run.sent_bytes += event.sent_bytes
    if event.outcome == "done" and event.task == "train":
        run.completed = max(run.completed, event.round)
        kept = _figures(run, event.round)
        kept.loss = event.loss
        kept.bytes = event.received_bytes + event.sent_bytes
        kept.share = len(event.responded) / event.cohort_size if event.cohort_size else None
    missed = f", {len(event.missing)} missing" if event.missing else ""
    why = f": {event.reason}" if event.reason else ""
    text = f"{event.outcome} in {figures.seconds(event.wall_s)}, {len(event.responded)} of {event.cohort_size}{missed}"
    store.note(at, "info" if event.outcome == "done" else "error", tag(run, event.round, event.task), text + why)


def _round_evaluated(store: Store, at: float, event: e.RoundEvaluated) -> None:
    run = _run(store, at, event.run)
    kept = _figures(run, event.round)
    kept.error = event.metrics.get("test_rmse")
    kept.score = event.metrics.get("test_r2", event.metrics.get("test_accuracy"))
    for name, metrics in event.per_device.items():
        store.device(name).metrics = metrics


def _run_measured(store: Store, at: float, event: e.RunMeasured) -> None:
    run = _run(store, at, event.run)
    run.devices_cpu_s = sum(process.get("cpu_s", 0.0) for process in event.processes.values())
    run.devices_sent = sum(device.get("uplink_bytes", 0.0) for device in event.per_device.values())
    run.devices_received = sum(device.get("downlink_bytes", 0.0) for device in event.per_device.values())
    run.silent = event.silent


def _message_rejected(store: Store, at: float, event: e.MessageRejected) -> None:
    store.server.rejected = max(store.server.rejected, event.total)
    store.server.rejected_reason = event.reason
    store.dirty.add(SERVER)
    store.note(at, "warning", "REJECTED", f"{event.topic}: {event.reason}", event.device)


def _command_changed(store: Store, at: float, event: e.CommandChanged) -> None:
    if event.state == "pending":
        return
    text = event.text.partition("\n")[0]
    told = f"{event.line} {event.state}" + (f": {text}" if text else "")
    store.note(at, "error" if event.state == "failed" else "info", f"CMD {event.origin}", told)


def tag(run: Run, number: int, task: Task) -> str:
    """How the log names a round."""
    if task == "statistics":
        return "STATS"
    return "EVAL" if task == "evaluate" else f"ROUND {number}/{run.rounds}" if run.rounds else f"ROUND {number}"


def _run(store: Store, at: float, name: str) -> Run:
    """The run of that name; another one than before starts with an empty record of rounds."""
    store.dirty |= {RUN, ROUNDS}
    if store.run is None or store.run.name != name:
        store.run = Run(name, started_at=at, changed_at=at)
        store.rounds = {}
        store.waiting = ""
        for device in store.devices.values():
            device.round, device.answer, device.progress = None, "", 0.0
            device.loss, device.metrics = None, {}
            device.rounds.clear()
            device.losses.clear()
        store.dirty |= set(store.devices)
    return store.run


def _round(store: Store, at: float, run: str, number: int, attempt: int) -> Round:
    key = (number, attempt)
    if key not in store.rounds:
        store.rounds[key] = Round(run, number, attempt, opened_at=at, deadline_from=at)
        if len(store.rounds) > 1 and key < list(store.rounds)[-2]:
            store.rounds = dict(sorted(store.rounds.items()))
    return store.rounds[key]


def _answer(store: Store, round_: Round, name: str, answer: Answer) -> DeviceRound:
    """The record of a device in a round, with its answer; the device's own columns follow if it is the latest."""
    device = store.device(name)
    found = round_.answers.get(name)
    if found is None:
        found = next((r for r in device.rounds if (r.round, r.attempt) == (round_.number, round_.attempt)), None)
    if found is None:
        found = DeviceRound(round_.number, round_.attempt, round_.task)
        device.rounds.append(found)
    round_.answers[name] = found
    found.answer = answer
    if device.round is None or round_.number >= device.round:
        device.round, device.answer = round_.number, answer
    return found


def _figures(run: Run, number: int) -> Figures:
    if number not in run.figures:
        run.figures[number] = Figures()
        if len(run.figures) > 1 and number < list(run.figures)[-2]:
            run.figures = dict(sorted(run.figures.items()))
        if len(run.figures) > FIGURES_KEPT:
            del run.figures[next(iter(run.figures))]
    return run.figures[number]


_REDUCERS: Final[dict[type, Callable[[Store, float, Any], None]]] = {
    e.Notice: _notice,
    e.LinkChanged: _link_changed,
    e.DeviceChanged: _device_changed,
    e.DeviceTelemetry: _device_telemetry,
    e.ServerTelemetry: _server_telemetry,
    e.RunStarted: _run_started,
    e.RunChanged: _run_changed,
    e.RoundOpened: _round_opened,
    e.RoundPhase: _round_phase,
    e.UpdateReceived: _update_received,
    e.DeviceRefused: _device_refused,
    e.RoundClosed: _round_closed,
    e.RoundEvaluated: _round_evaluated,
    e.RunMeasured: _run_measured,
    e.MessageRejected: _message_rejected,
    e.CommandChanged: _command_changed,
}
