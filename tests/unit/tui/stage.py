"""The console on a real terminal, with a core of paper: what the pseudo-terminal tests and pictures run.

python -m tests.unit.tui.stage [SCENE] [--devices N] ...
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path

from kehefl.errors import BrokerError
from kehefl.server import events as e
from kehefl.tui.main import run_console
from tests.unit.tui.fake import FakeCore, Play, born, link_up, telemetry

HOSTILE = (
    *("[bold red]pi[/]", "pi\x1b[31m-esc", "\x1b]0;owned\x07", "设备-传感器-零零一", "جهاز-٠١", "a" * 300),
    *("z\u200b\u202eabc", "tab\there", "nl\nhere", "e" + "\u0301" * 40, "[/]", ""),
)


class LiveClock:
    """Real time that runs on, with the play's own steps in the past."""

    def __init__(self) -> None:
        self.at = time.time()


def playing(core: FakeCore, devices: int, done: int, share: float) -> None:
    """A run whose past lies before now."""
    clock = LiveClock()
    core.clock = lambda: clock.at
    play = Play(core, clock, devices)  # type: ignore[arg-type]
    play.setup()
    play.start()
    play.rounds(done)
    play.open_round(share)
    shift = time.time() - clock.at
    core.past = [e.Stamped(s.seq, s.at + shift, s.event) for s in core.past]
    core.clock = time.time


def scene(core: FakeCore, name: str, devices: int) -> None:
    core.clock = time.time
    at = "mqtt://10.0.0.7:1883"
    match name:
        case "run" | "storm":
            playing(core, devices, 9, 0.6)
        case "paused":
            playing(core, devices, 9, 0.6)
            core.emit(e.RunChanged(run="run-0003", status="paused", reason="by the operator"))
        case "failed":
            playing(core, devices, 4, 0.3)
            why = "Round 5, attempt 2 of 2: 2 of 8 devices answered within 60 s, 4 needed; missing: pi-03 (lost). "
            why += "Start the missing devices, or ask for less."
            core.emit(e.RunChanged(run="run-0003", status="failed", reason=why))
        case "lost":
            playing(core, devices, 9, 0.6)
            core.emit(e.LinkChanged(state="lost", broker=at, broker_kind="mosquitto 2.0", ever_up=True, attempt=3,
                                    reason="connection reset by peer", retry_in_s=600.0))  # fmt: skip
        case "idle":
            core.emit(link_up())
            for i in range(devices):
                core.emit(born(f"pi-{i + 1:02d}"))
        case "empty":
            core.emit(link_up())
        case "connecting":
            core.emit(e.LinkChanged(state="connecting", broker=at, broker_kind="", attempt=1))
        case "never":
            core.emit(e.LinkChanged(state="lost", broker=at, broker_kind="", attempt=2, retry_in_s=600.0,
                                    reason="connection refused"))  # fmt: skip
        case "refused":
            why = "The broker refused the password."
            core.emit(e.LinkChanged(state="refused", broker=at, broker_kind="", reason=why))
        case "hostile":
            playing(core, 2, 2, 0.5)
            for text in HOSTILE:
                core.emit(born(text or " ", reason=text, state="lost"))
                core.emit(e.Notice(level="warning", text=f"hostile {text}"))
            core.emit(e.RunChanged(run="run-0003", status="failed", reason="".join(HOSTILE)))


async def storm(core: FakeCore, names: list[str]) -> None:
    """Every device says something twice a second."""
    i = 0
    while True:
        for place, name in enumerate(names):
            core.emit(telemetry(name, i, 10, (i + place) % 16 / 16, 0.3 + 0.01 * math.sin(i + place)))
        core.past = core.past[-10:]
        i += 1
        await asyncio.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", nargs="?", default="run")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--theme")
    parser.add_argument("--history", type=Path)
    parser.add_argument("--executed", type=Path, help="lines that reached the core are appended here")
    given = parser.parse_args()

    @contextlib.asynccontextmanager
    async def open_core() -> AsyncIterator[FakeCore]:
        if given.scene == "no-broker":
            raise BrokerError(
                "No MQTT broker could be started: mosquitto is not installed. Install it: apt install mosquitto"
            )
        if given.scene == "fault":
            raise RuntimeError("a fault of kehefl")
        core = FakeCore()
        core.answers["runs"] = "run-0001  federated  done\nrun-0002  local  failed"
        if given.executed is not None:
            core.executed = _Told(given.executed)
        scene(core, given.scene, given.devices)
        task = asyncio.create_task(storm(core, [*core.store.devices])) if given.scene == "storm" else None
        try:
            yield core
        finally:
            if task is not None:
                task.cancel()
            if given.executed is not None:
                core.executed.append("closed")

    return run_console(
        open_core, title_note="demo", read_only=given.read_only, ascii_only=given.ascii, history_path=given.history,
        theme=given.theme,
    )  # fmt: skip


class _Told(list[str]):
    """A list that also writes what it is given."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def append(self, line: str) -> None:
        super().append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
