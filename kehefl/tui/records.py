"""What the console remembers of the world: plain records that the reducer fills and the panes read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from kehefl.server.events import DeviceChanged, DeviceState, DeviceTelemetry, Level, RunStatus, ServerTelemetry

#: Readings kept for a device's small charts: at one in two seconds, four minutes.
READINGS: Final = 120
#: Rounds whose answers are kept one by one; older ones keep their sums.
ROUNDS_WITH_ANSWERS: Final = 24
ROUNDS_KEPT: Final = 400
FIGURES_KEPT: Final = 20_000
LOG_KEPT: Final = 2000
DEVICE_LOG_KEPT: Final = 60
DEVICE_ROUNDS_KEPT: Final = 40

Task = Literal["statistics", "train", "evaluate"]
Answer = Literal["", "asked", "sent", "late", "missed", "refused"]


@dataclass(slots=True)
class LogLine:
    """One line of the log. `number` grows by one over the life of the store."""

    number: int
    at: float
    level: Level
    tag: str
    text: str
    device: str = ""


@dataclass(slots=True)
class Link:
    """The connection to the broker; None of it is known before the first event."""

    state: Literal["unknown", "connecting", "up", "lost", "refused", "closed"] = "unknown"
    broker: str = ""
    kind: str = ""
    mqtt: str = ""
    reason: str = ""
    attempt: int = 0
    since: float = 0.0
    retry_at: float | None = None
    ever_up: bool = False


@dataclass(slots=True)
class DeviceRound:
    """What one device did in one round attempt."""

    round: int
    attempt: int
    task: Task
    answer: Answer = "asked"
    after_s: float | None = None
    download_s: float | None = None
    train_s: float | None = None
    payload_bytes: int | None = None
    loss: float | None = None
    reason: str = ""


@dataclass(slots=True)
class Device:
    """One device: its last birth, its last reading, and what it did in the rounds of the run."""

    name: str
    state: DeviceState = "ready"
    reason: str = ""
    since: float = 0.0
    seen_at: float | None = None
    birth: DeviceChanged | None = None
    reading: DeviceTelemetry | None = None
    round: int | None = None
    answer: Answer = ""
    progress: float = 0.0
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=READINGS))
    memory: deque[float] = field(default_factory=lambda: deque(maxlen=READINGS))
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=READINGS))
    rounds: deque[DeviceRound] = field(default_factory=lambda: deque(maxlen=DEVICE_ROUNDS_KEPT))
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=DEVICE_LOG_KEPT))

    @property
    def doing(self) -> str:
        """Its state; a device that is there and has not answered its round yet is training."""
        return "training" if self.state == "ready" and self.answer == "asked" else self.state

    @property
    def error(self) -> float | None:
        """Error on rows never trained on, else the loss it trains with."""
        return self.metrics.get("test_rmse", self.loss)

    @property
    def score(self) -> float | None:
        return self.metrics.get("test_r2", self.metrics.get("test_accuracy"))


@dataclass(slots=True)
class Round:
    """One attempt at a round. Times of `phases` are Unix seconds; the deadline counts from `deadline_from`."""

    run: str
    number: int
    attempt: int
    task: Task = "train"
    cohort: int = 0
    needed: int = 0
    opened_at: float = 0.0
    phase: str = "announced"
    phases: list[tuple[str, float]] = field(default_factory=list)
    deadline_s: float = 0.0
    deadline_left_s: float = 0.0
    deadline_from: float = 0.0
    answers: dict[str, DeviceRound] = field(default_factory=dict)
    responded: int = 0
    received_payload: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    closed_at: float | None = None
    outcome: str = ""
    wall_s: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0
    loss: float | None = None
    change_norm: float | None = None
    exact_order: bool = True
    reason: str = ""


@dataclass(slots=True)
class Figures:
    """The metrics of one training round."""

    error: float | None = None
    loss: float | None = None
    score: float | None = None
    bytes: int | None = None
    share: float | None = None


@dataclass(slots=True)
class Run:
    """The present run, or the one that ended last."""

    name: str
    scenario: str = ""
    rounds: int = 0
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    status: RunStatus = "running"
    reason: str = ""
    started_at: float = 0.0
    changed_at: float = 0.0
    completed: int = 0
    resumed_from: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    model_path: str = ""
    model_sha256: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    #: What the devices measured on their own links and processes; told at the end of the run.
    devices_cpu_s: float | None = None
    devices_sent: float | None = None
    devices_received: float | None = None
    silent: tuple[str, ...] = ()
    figures: dict[int, Figures] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.status in {"running", "paused"}


@dataclass(slots=True)
class Server:
    """The server's own process, and what it turned away."""

    reading: ServerTelemetry | None = None
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=READINGS))
    rejected: int = 0
    rejected_reason: str = ""
