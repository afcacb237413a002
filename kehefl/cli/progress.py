"""Progress of a run on stderr: a bar on a terminal, lines otherwise."""

from __future__ import annotations

import shutil
from typing import Final, Self, TextIO

from kehefl.server.events import DeviceChanged, Notice, RoundClosed, RoundEvaluated, RoundPhase, RunStarted, Stamped

_WIDTH: Final = 30


class Progress:
    """Takes events of the server core and writes what a person wants to know of them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = out.isatty()
        self._rounds = 0
        self._error = ""
        self._held = ""
        self._waiting = -1
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._out.write("\n")

    def take(self, stamped: Stamped) -> None:
        """One event."""
        match stamped.event:
            case RunStarted(rounds=rounds, run=run):
                self._rounds = rounds
                self._line(f"run {run}")
            case Notice(level="warning" | "error", text=text):
                self._line(text)
            case DeviceChanged(device=device, state="lost"):
                self._line(f"{device} was lost")
            case RoundPhase(phase="waiting", reason=reason, round=round_) if reason and round_ != self._waiting:
                self._waiting = round_
                self._line(f"waiting: {reason}")
            case RoundEvaluated(metrics=metrics, round=round_):
                self._error = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
                if self._held and round_:
                    # A round's model is evaluated while the next one runs: its line waits for that.
                    self._line(f"{self._held}  {self._error}")
                    self._held = ""
            case RoundClosed() as closed:
                self._closed(closed)
            case _:
                pass

    def _closed(self, closed: RoundClosed) -> None:
        if closed.outcome == "failed":
            self._line(closed.reason)
            return
        done = min(closed.round, self._rounds)
        answered = f"{len(closed.responded)}/{closed.cohort_size}"
        if not self._bar:
            if closed.task == "train":
                self._held = f"round {done}/{self._rounds}  {answered} devices  {1000 * closed.wall_s:.0f} ms"
            return
        filled = _WIDTH * done // max(1, self._rounds)
        text = f"{'█' * filled}{'░' * (_WIDTH - filled)} round {done}/{self._rounds}  {answered}  {self._error}"
        self._out.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
        self._out.flush()
        self._drawn = True

    def _line(self, text: str) -> None:
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._drawn = False
        self._out.write(text + "\n")
        self._out.flush()
