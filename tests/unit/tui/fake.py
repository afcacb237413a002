"""A server core of paper: it satisfies `kehefl.tui.core.Core` and plays a realistic, deterministic run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection

from kehefl.errors import RefusedError
from kehefl.server import events as e
from kehefl.server.commands import parse, select_devices
from kehefl.tui.store import Store, reduce

START = 1_790_000_000.0
FEATURES = ("temperature", "humidity", "co2")


class Clock:
    """Time that a test sets."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class FakeCore:
    """Events out, lines in. What was executed is in `executed`."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or Clock()
        self.seq = 0
        self.past: list[e.Stamped] = []
        self.executed: list[str] = []
        self.refuse: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.closed = False
        self.store = Store()
        self._callbacks: list[Callable[[e.Stamped], None]] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[FakeCore]:
        try:
            yield self
        finally:
            self.closed = True

    def subscribe(self, callback: Callable[[e.Stamped], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def snapshot(self) -> tuple[e.Stamped, ...]:
        return tuple(self.past)

    def emit(self, event: e.AnyEvent, at: float | None = None) -> None:
        self.seq += 1
        stamped = e.Stamped(self.seq, self.clock() if at is None else at, event)
        self.past.append(stamped)
        reduce(self.store, stamped)
        for callback in self._callbacks:
            callback(stamped)

    async def submit(self, line: str, *, origin: str = "console", marked: Collection[str] = ()) -> str:
        self.executed.append(line)
        command = parse(line)
        if line in self.refuse or command.verb.name in self.refuse:
            raise RefusedError(self.refuse.get(line) or self.refuse[command.verb.name])
        if command.verb.name in self.answers:
            return self.answers[command.verb.name]
        if "devices" in command.verb.targets:
            states = {name: device.state for name, device in self.store.devices.items()}
            chosen = select_devices(command.targets, states, marked)
            return f"{command.verb.words[-1]}: {', '.join(chosen)}"
        if command.verb.name == "run abort" and self.store.run:
            self.emit(e.RunChanged(run=self.store.run.name, status="aborted", reason="by the operator"))
        if command.verb.name == "run pause" and self.store.run:
            self.emit(e.RunChanged(run=self.store.run.name, status="paused", reason="by the operator"))
        if command.verb.name == "run resume" and self.store.run:
            self.emit(e.RunChanged(run=self.store.run.name, status="running"))
        return f"{command.verb.name} done"

    def known(self, kind: str) -> Collection[str]:
        return {"devices": [*self.store.devices], "run": ["run-0001", "run-0002"]}.get(kind, ())


def link_up(**more: object) -> e.LinkChanged:
    return e.LinkChanged(
        state="up", broker="mqtt://127.0.0.1:1883", broker_kind="mosquitto 2.0", mqtt="5", ever_up=True
    )


def born(name: str, *, rows: int = 412, state: e.DeviceState = "ready", reason: str = "") -> e.DeviceChanged:
    return e.DeviceChanged(
        device=name, state=state, reason=reason, boot="b1", software="kehefl 0.1.0", board="Raspberry Pi 4",
        process="fleet-0", source="homes/1", simulated=True, features=FEATURES, target="power", rows_train=rows,
        rows_test=rows // 4, data_digest="9f2c41d0",
    )  # fmt: skip


def telemetry(
    name: str, i: int, round_: int = 0, progress: float = 0.0, loss: float | None = None
) -> e.DeviceTelemetry:
    wave = math.sin(i * 0.7 + len(name) + sum(map(ord, name)))
    return e.DeviceTelemetry(
        device=name, cpu_percent=40 + 38 * wave, cpu_s=1.0 + 0.4 * i, rss_mib=41 + 3 * wave, peak_rss_mib=52.0,
        sent_bytes=41_200 * (i + 1), received_bytes=33_800 * (i + 1), process="fleet-0",
        temperature_c=51 + 4 * wave, round=round_, progress=progress, loss=loss,
    )  # fmt: skip


SETTINGS: dict[str, str | int | float | bool | None] = {
    "rounds": 20, "local_epochs": 3, "batch_size": 32, "learning_rate": 0.01, "model": "linear", "strategy": "fedavg",
    "quorum": 0.5, "deadline": 60.0, "attempts": 2, "late": "drop", "devices": 1, "wait": 60.0, "seed": 1,
}  # fmt: skip


class Play:
    """A run of `devices`, stepped by hand: `setup`, then `rounds(n)`, then `open_round`."""

    def __init__(self, core: FakeCore, clock: Clock, devices: int = 8, rounds: int = 20) -> None:
        self.core, self.clock, self.total = core, clock, rounds
        self.names = [f"pi-{i:02d}" for i in range(1, devices + 1)]
        self.run = "run-0003"
        self.round = 0

    def setup(self) -> None:
        self.core.emit(e.LinkChanged(state="connecting", broker="mqtt://127.0.0.1:1883", broker_kind="", attempt=1))
        self.clock.at += 0.2
        self.core.emit(link_up())
        for i, name in enumerate(self.names):
            self.clock.at += 0.05
            self.core.emit(born(name, rows=380 + 17 * i))
            self.core.emit(telemetry(name, 0))
        self.core.emit(
            e.ServerTelemetry(cpu_percent=2.1, cpu_s=0.8, rss_mib=61, peak_rss_mib=64, sent_bytes=0, received_bytes=0)
        )

    def start(self) -> None:
        settings = {**SETTINGS, "rounds": self.total}
        self.core.emit(e.RunStarted(run=self.run, scenario="federated", rounds=self.total, settings=settings))
        self._round("statistics")

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round += 1
            self._round("train")

    def finish(self) -> None:
        self.round += 1
        self._round("evaluate")
        self.core.emit(
            e.RunChanged(run=self.run, status="done", rounds_completed=self.total, metrics=self._metrics(self.total),
                         model_path="/home/op/.kehefl/run-0003/model.safetensors")
        )  # fmt: skip

    def open_round(self, share: float = 0.6) -> None:
        """A round in the middle: `share` of the devices have answered, the others are at work."""
        self.round += 1
        self._open("train")
        self.clock.at += 2.0
        answered = int(len(self.names) * share)
        for i, name in enumerate(self.names):
            if i < answered:
                self._update(name, i, "train")
            else:
                self.core.emit(e.DeviceChanged(device=name, state="training"))
                self.core.emit(telemetry(name, self.round, self.round, (i % 7 + 1) / 8, self._loss(i)))

    def _open(self, task: str) -> None:
        self.core.emit(
            e.RoundOpened(run=self.run, round=self.round, attempt=1, task=task, cohort=tuple(self.names),  # type: ignore[arg-type]
                          needed=max(1, len(self.names) // 2), deadline_s=60.0)
        )  # fmt: skip
        self.clock.at += 0.1
        self.core.emit(e.RoundPhase(run=self.run, round=self.round, attempt=1, phase="training"))

    def _round(self, task: str) -> None:
        opened = self.clock.at
        self._open(task)
        for i, name in enumerate(self.names):
            self.clock.at += 1.6 / len(self.names)
            self._update(name, i, task)
        for phase, lasts in (("collecting", 0.4), ("aggregating", 0.15), ("evaluating", 0.2)):
            self.core.emit(e.RoundPhase(run=self.run, round=self.round, attempt=1, phase=phase))  # type: ignore[arg-type]
            self.clock.at += lasts
        size = 41_200 * len(self.names)
        self.core.emit(
            e.RoundClosed(run=self.run, round=self.round, attempt=1, task=task, outcome="done",  # type: ignore[arg-type]
                          cohort_size=len(self.names), responded=tuple(self.names), missing=(),
                          wall_s=self.clock.at - opened, announce_s=0.1, train_s=1.6, collect_s=0.4, aggregate_s=0.15,
                          received_bytes=size, sent_bytes=size // 2, loss=self._loss(0) if task == "train" else None,
                          change_norm=0.4 / (1 + self.round))
        )  # fmt: skip
        if task != "statistics":
            self.core.emit(
                e.RoundEvaluated(run=self.run, round=self.round, metrics=self._metrics(self.round),
                                 per_device={n: self._metrics(self.round, i) for i, n in enumerate(self.names)})
            )  # fmt: skip

    def _update(self, name: str, i: int, task: str) -> None:
        after = 0.8 + 0.9 * abs(math.sin(i * 1.3 + self.round))
        self.core.emit(
            e.UpdateReceived(run=self.run, round=self.round, attempt=1, device=name, weight=400, payload_bytes=41_200,
                             after_s=after, download_s=0.08, train_s=after - 0.2, train_cpu_s=after - 0.3,
                             loss=self._loss(i) if task == "train" else None)
        )  # fmt: skip
        self.core.emit(telemetry(name, self.round, self.round, 1.0, self._loss(i) if task == "train" else None))

    def _loss(self, i: int) -> float:
        return 0.29 + 0.9 * math.exp(-self.round / 6) + 0.02 * math.sin(i + self.round * 1.7)

    def _metrics(self, round_: int, i: int = 0) -> dict[str, float]:
        rmse = 0.55 + 1.1 * math.exp(-round_ / 7) + 0.03 * math.sin(i * 2.1 + round_)
        return {"test_rmse": rmse, "test_mae": rmse * 0.7, "test_r2": 0.86 - 0.6 * math.exp(-round_ / 5)}


def play(devices: int = 8, rounds: int = 20, done: int = 9, share: float = 0.6) -> tuple[FakeCore, Clock]:
    """A core in the middle of a run, and the clock it goes by."""
    clock = Clock()
    core = FakeCore(clock)
    one = Play(core, clock, devices, rounds)
    one.setup()
    one.start()
    one.rounds(done)
    one.open_round(share)
    return core, clock
