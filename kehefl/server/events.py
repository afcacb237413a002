"""The event stream: everything a face, the run log and a report know of the server core.

Events are immutable and numbered by the stream that carries them (`Stamped`). Console, log, export and replay read the
same events; a figure that is not in one of them is not shown anywhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["info", "warning", "error"]
Phase = Literal["waiting", "announced", "training", "collecting", "aggregating", "evaluating", "done", "failed"]
RunStatus = Literal["running", "paused", "done", "failed", "aborted", "interrupted"]
#: `drained` and `evicted` are the operator's decisions, the others come from the device.
DeviceState = Literal["ready", "training", "uploading", "leaving", "lost", "drained", "evicted"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all events."""


class Notice(Event, frozen=True):
    """A sentence for the operator that belongs to no other event."""

    level: Level
    text: str


class LinkChanged(Event, frozen=True):
    """The server's connection to the broker. `retry_in_s` is the drawn back-off; a face counts down itself."""

    state: Literal["connecting", "up", "lost", "refused", "closed"]
    broker: str
    broker_kind: str
    reason: str = ""
    attempt: int = 0
    retry_in_s: float | None = None
    ever_up: bool = False
    mqtt: str = ""


class DeviceChanged(Event, frozen=True):
    """A device was born, changed its state or was lost. Descriptive fields repeat those of its birth."""

    device: str
    state: DeviceState
    reason: str = ""
    boot: str = ""
    software: str = ""
    board: str = ""
    process: str = ""
    source: str = ""
    simulated: bool = False
    features: tuple[str, ...] = ()
    target: str = ""
    rows_train: int = 0
    rows_test: int = 0
    data_digest: str = ""
    notes: tuple[str, ...] = ()


class DeviceTelemetry(Event, frozen=True):
    """A reading of a device's own process. Bytes are totals since its boot, whole packets on its own link."""

    device: str
    cpu_percent: float
    cpu_s: float
    rss_mib: float
    peak_rss_mib: float
    sent_bytes: int
    received_bytes: int
    process: str = ""
    temperature_c: float | None = None
    round: int = 0
    progress: float = 0.0
    loss: float | None = None


class ServerTelemetry(Event, frozen=True):
    """A reading of the server's own process."""

    cpu_percent: float
    cpu_s: float
    rss_mib: float
    peak_rss_mib: float
    sent_bytes: int
    received_bytes: int


class RunStarted(Event, frozen=True):
    """A run was accepted. `settings` are those of `RunSettings`, as plain values."""

    run: str
    scenario: str
    rounds: int
    settings: dict[str, str | int | float | bool | None]
    resumed_from_round: int = 0


class RunChanged(Event, frozen=True):
    """The run was paused, resumed or ended. `reason` is a sentence; on `done`, `metrics` are the final ones."""

    run: str
    status: RunStatus
    reason: str = ""
    rounds_completed: int = 0
    metrics: dict[str, float] = {}
    model_path: str = ""
    model_sha256: str = ""


class RoundOpened(Event, frozen=True):
    """A round (or another attempt at it) was announced. Round 0 gathers statistics; the last evaluates only."""

    run: str
    round: int
    attempt: int
    task: Literal["statistics", "train", "evaluate"]
    cohort: tuple[str, ...]
    needed: int
    deadline_s: float
    carried: tuple[str, ...] = ()


class RoundPhase(Event, frozen=True):
    """The round entered a phase. `deadline_in_s` is set when the deadline was moved or the clock stopped (pause)."""

    run: str
    round: int
    attempt: int
    phase: Phase
    reason: str = ""
    deadline_in_s: float | None = None


class UpdateReceived(Event, frozen=True):
    """An update was taken. Times are seconds: `after_s` since the announcement, the others as the device says."""

    run: str
    round: int
    attempt: int
    device: str
    weight: int
    payload_bytes: int
    after_s: float
    download_s: float = 0.0
    train_s: float = 0.0
    train_cpu_s: float = 0.0
    loss: float | None = None
    late: bool = False


class DeviceRefused(Event, frozen=True):
    """A device said that it cannot take part in the round, and why."""

    run: str
    round: int
    attempt: int
    device: str
    reason: str


class RoundClosed(Event, frozen=True):
    """A round attempt ended. Phase durations are seconds on the server's clock; bytes are whole packets at its link."""

    run: str
    round: int
    attempt: int
    task: Literal["statistics", "train", "evaluate"]
    outcome: Literal["done", "failed", "aborted"]
    cohort_size: int
    responded: tuple[str, ...]
    missing: tuple[str, ...]
    wall_s: float
    announce_s: float = 0.0
    train_s: float = 0.0
    collect_s: float = 0.0
    aggregate_s: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0
    loss: float | None = None
    change_norm: float | None = None
    exact_order: bool = True
    checkpoint: str = ""
    checkpoint_sha256: str = ""
    reason: str = ""


class RoundEvaluated(Event, frozen=True):
    """The model of a round was evaluated on rows never trained on: pooled over devices, and per device.

    Keys are `test_rmse`, `test_mae`, `test_r2` in the target's unit (`test_accuracy`, ... for classification).
    """

    run: str
    round: int
    metrics: dict[str, float]
    per_device: dict[str, dict[str, float]]


class RunMeasured(Event, frozen=True):
    """What a run cost, before its end is announced. Counted on each device's own link and process; see `Meter`."""

    run: str
    per_device: dict[str, dict[str, float]]
    processes: dict[str, dict[str, float]]
    server: dict[str, float]
    silent: tuple[str, ...] = ()


class MessageRejected(Event, frozen=True):
    """A message broke the protocol or did not belong; counted since the server's start, and since the run's."""

    topic: str
    reason: str
    total: int
    in_run: int = 0
    device: str = ""


class CommandChanged(Event, frozen=True):
    """A command line was accepted, done or refused; `text` is what to tell the operator."""

    command: int
    line: str
    state: Literal["pending", "done", "failed"]
    text: str = ""
    origin: str = "console"


AnyEvent = (
    Notice
    | LinkChanged
    | DeviceChanged
    | DeviceTelemetry
    | ServerTelemetry
    | RunStarted
    | RunChanged
    | RoundOpened
    | RoundPhase
    | UpdateReceived
    | DeviceRefused
    | RoundClosed
    | RoundEvaluated
    | RunMeasured
    | MessageRejected
    | CommandChanged
)


class Stamped(msgspec.Struct, frozen=True):
    """An event with its place in the stream: `seq` grows by one, `at` is Unix time in seconds."""

    seq: int
    at: float
    event: AnyEvent
