"""The line above the last: what a command came to, what may be typed, or the newest line of the log."""

from __future__ import annotations

from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line
from kehefl.tui.pane import Pane
from kehefl.tui.panes.bar import CommandBar
from kehefl.tui.panes.events import clock
from kehefl.tui.text import cut, width, wrap

#: A result stays this long, a failure until it has surely been read.
DONE_S = 6.0
FAILED_S = 30.0
MAX_LINES = 4
_SIGNS = {"pending": ("⋯", "info"), "done": ("✓", "good"), "failed": ("✗", "bad"), "note": ("▸", "warn")}


class MessageLine(Pane):
    """It grows to hold a long sentence, so that no reason is ever cut."""

    BORDERED = False

    def __init__(self, desk: Desk, bar: CommandBar) -> None:
        super().__init__(desk, "message")
        self.kind = ""
        self.message = ""
        self._until = 0.0
        self._bar = bar
        #: The log is in sight already: its newest line would say the same twice.
        self.log_in_sight = False

    def show(self, kind: str, message: str) -> None:
        """`pending`, `done`, `failed` or `note`; pending stays until it is replaced."""
        self.kind, self.message = kind, message
        stay_s = {"pending": float("inf"), "done": DONE_S, "note": DONE_S}.get(kind, FAILED_S)
        self._until = self.desk.now + stay_s

    def pull(self) -> None:
        wanted = max(1, len(self._lines_to_show(self.size.width))) if self.size.width else 1
        if self.styles.height is None or self.styles.height.value != wanted:
            self.styles.height = wanted
        super().pull()

    def paint(self, cells: int, height: int) -> list[Line]:
        return self._lines_to_show(cells)

    def _lines_to_show(self, cells: int) -> list[Line]:
        if self._bar.is_open and self._bar.chosen >= 0:
            return [self._choices(cells)]
        if self.message and self.desk.now < self._until:
            sign, tone = _SIGNS[self.kind]
            lines = wrap(self.message, max(10, cells - 4))[:MAX_LINES]
            return [[(f" {sign if i == 0 else ' '} ", tone), (line, tone if self.kind != "done" else "text")]
                    for i, line in enumerate(lines)]  # fmt: skip
        if self._bar.is_open and self._bar.mode == "command":
            return [self._choices(cells)]
        if self._bar.is_open:
            return [[(" part of an id, a glob, state=lost, !state=ready; Enter keeps it, Esc clears it", "dim")]]
        log = self.desk.store.log
        if self.log_in_sight or not log:
            return [()]
        last = log[-1]
        tone = {"warning": "warn", "error": "bad"}.get(last.level, "dim")
        head = f" {clock(last.at)} [{last.tag}] "
        return [[(head, "faint"), (cut(last.text, max(10, cells - width(head) - 1)), tone)]]

    def _choices(self, cells: int) -> Line:
        """As many candidates as fit, around the chosen one."""
        choices, chosen = self._bar.choices, self._bar.chosen
        start = 0
        if chosen >= 0:
            while sum(width(c) + 2 for c in choices[start : chosen + 1]) > cells - 4 and start < chosen:
                start += 1
        line: list[tuple[str, str]] = [(" ", "text")]
        left = cells - 3
        for index, choice in enumerate(choices[start:], start):
            if width(choice) + 2 > left:
                line.append(("…", "faint"))
                break
            line += [(choice, "*accent" if index == chosen else "dim"), ("  ", "text")]
            left -= width(choice) + 2
        return line
