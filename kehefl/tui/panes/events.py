"""The log. It follows its tail; scrolled up it stands still and counts what is new."""

from __future__ import annotations

import time

from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line
from kehefl.tui.pane import Pane
from kehefl.tui.records import LogLine
from kehefl.tui.text import clean, width, wrap

_TONES = {"info": "text", "warning": "warn", "error": "bad"}


class EventLog(Pane):
    """`stopped_at` is the number of the last line in sight when the tail was left; None follows the tail."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "events")
        self.stopped_at: int | None = None
        self._page = 1

    def number(self) -> str:
        return "4"

    def title(self) -> Line:
        out = [("Events", "title")]
        if self.stopped_at is not None:
            out += [("  paused", "warn"), (f"  +{self.new} new", "*warn"), ("  G follows", "dim")]
        return out

    @property
    def new(self) -> int:
        """Lines that came since the tail was left."""
        return 0 if self.stopped_at is None else self.desk.store.logged - self._left_at

    _left_at = 0

    def paint(self, cells: int, height: int) -> list[Line]:
        self._page = max(1, height)
        log = self.desk.store.log
        if not log:
            return [[("Nothing has happened yet.", "dim")]]
        last = self.desk.store.logged if self.stopped_at is None else max(self.stopped_at, log[0].number)
        out: list[Line] = []
        skip = self.desk.store.logged - last
        for index in range(len(log) - 1 - skip, -1, -1):
            out[:0] = told(log[index], cells)
            if len(out) >= height:
                break
        return out[-height:]

    def move(self, step: int) -> None:
        store = self.desk.store
        if not store.log:
            return
        if self.stopped_at is None:
            if step > 0:
                return
            self._left_at = store.logged
        place = (store.logged if self.stopped_at is None else self.stopped_at) + step
        if place >= store.logged:
            self.stopped_at = None
            return
        self.stopped_at = max(min(store.log[0].number + self._page - 1, store.logged), place)

    def move_page(self, pages: int) -> None:
        self.move(pages * max(1, self._page - 1))

    def move_to(self, *, end: bool) -> None:
        if end:
            self.stopped_at = None
        else:
            self.move(-len(self.desk.store.log))

    def last_line(self) -> str:
        """The line at the bottom, for copying."""
        store = self.desk.store
        if not store.log:
            return ""
        number = self.stopped_at or store.logged
        line = next((line for line in reversed(store.log) if line.number <= number), store.log[-1])
        return f"{clock(line.at)} [{line.tag}] {line.text}"


def clock(at: float) -> str:
    """Local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def told(line: LogLine, cells: int) -> list[Line]:
    """A log line, wrapped under its own text; never more than three lines of it."""
    tag = f"[{clean(line.tag)}]"
    indent = 9 + width(tag) + 1
    tone = _TONES[line.level]
    if indent + 16 > cells:
        indent = 9
        texts = wrap(f"{tag} {line.text}", max(8, cells - indent))
        tag = ""
    else:
        texts = wrap(line.text, cells - indent)
    if len(texts) > 3:
        texts = [*texts[:2], texts[2][:-1] + "…"]
    head: list[tuple[str, str]] = [(clock(line.at) + " ", "faint")]
    if tag:
        head += [(tag, "dim" if line.level == "info" else tone), (" ", "text")]
    return [[*head, (texts[0], tone)], *([(" " * indent, "text"), (text, tone)] for text in texts[1:])]
