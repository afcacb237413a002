"""A pane by Textual's Line API: it paints lines, compares them with those on the screen, and refreshes what differs.

Nothing is drawn twice: a row in which one number changed costs that number's cells, and a quiet pane costs nothing.
"""

from __future__ import annotations

from typing import ClassVar, Final

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from kehefl.tui.desk import Desk
from kehefl.tui.lines import Drawn, Line, changed_span, drawn, fill, line_width, strip
from kehefl.tui.palette import PLAIN

#: Without a broker what is shown is the past: every tone fades, trouble stays.
_FADED: Final = {"text": "dim", "title": "dim", "accent": "dim", "info": "dim", "good": "dim", "violet": "dim"}


class Pane(Widget):
    """Base of all that is drawn. `paint` gives the lines inside the border, as many as fit."""

    DEFAULT_CSS = "Pane { background: transparent; }"
    ALLOW_SELECT = False
    BORDERED: ClassVar[bool] = True
    #: Whether its contents are data that grow old without a broker.
    FADES: ClassVar[bool] = False

    def __init__(self, desk: Desk, name: str) -> None:
        super().__init__(id=name)
        self.desk = desk
        self.key = name
        self._lines: list[Drawn] = []
        self._theme = ""

    # What a pane says --------------------------------------------------------------------------------------------

    def paint(self, width: int, height: int) -> list[Line]:
        """Lines inside the border. Texts may hold anything; they are made safe on the way to the screen."""
        raise NotImplementedError

    def title(self) -> Line:
        return ()

    def caption(self) -> Line:
        """What stands at the right of the lower border."""
        return ()

    def number(self) -> str:
        """The key that leads here."""
        return ""

    @property
    def is_focused(self) -> bool:
        return self.desk.focus == self.key

    # How it gets there -------------------------------------------------------------------------------------------

    def pull(self) -> None:
        """Paint again and refresh the cells that differ."""
        if not self.is_attached or not self.display:
            return
        width, height = self.size
        if width <= 0 or height <= 0:
            return
        lines = [drawn(line, width, ascii_only=self.desk.ascii_only) for line in self._all_lines(width, height)]
        if self._theme != self.desk.theme or len(lines) != len(self._lines):
            self._lines, self._theme = lines, self.desk.theme
            self.refresh()
            return
        changed = [
            Region(span[0], y, span[1] - span[0], 1)
            for y, (before, after) in enumerate(zip(self._lines, lines, strict=True))
            if (span := changed_span(before, after)) is not None
        ]
        self._lines = lines
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        line = self._lines[y] if y < len(self._lines) else ((" " * width, "text"),)
        return strip(line, self.desk.theme, width)

    def on_resize(self) -> None:
        self._lines = []
        self.pull()

    def text(self) -> list[str]:
        """The lines as they stand on the screen, for tests and for copying."""
        return ["".join(piece for piece, _ in line) for line in self._lines]

    def _all_lines(self, width: int, height: int) -> list[Line]:
        if not self.BORDERED:
            lines: list[Line] = self.paint(width, height)[:height]
            return lines + [()] * (height - len(lines))
        if width < 4 or height < 3:
            return [()] * height
        inner = width - 4
        inside = self.paint(inner, height - 2)[: height - 2]
        if self.FADES and self.desk.cut_off:
            inside = [[(text, _fade(tone)) for text, tone in line] for line in inside]
        inside += [()] * (height - 2 - len(inside))
        edge = "focus" if self.is_focused else "border"
        title = [*self.title()]
        if title and self.is_focused and self.desk.theme in PLAIN:
            # Without colour the border cannot say where the focus is.
            name = title[0][0].rstrip()
            title[:1] = [(name, "cursor"), (title[0][0][len(name) :], "text")]
        out: list[Line] = [self._edge(title, self.number(), width, edge)]
        for line in inside:
            ends = "+text" if any(tone.startswith("+") for _, tone in line) else "text"
            out.append([("│", edge), (" ", ends), *fill(line, inner, tone=ends), (" ", ends), ("│", edge)])
        out.append(self._edge((), self.caption(), width, edge, corners="╰╯"))
        return out

    def _edge(self, left: Line, right: Line | str, width: int, tone: str, *, corners: str = "╭╮") -> Line:
        """A border with text set into it; what does not fit at the right is left out, at the left it is cut."""
        tail: Line = (
            [(right, "faint")] if isinstance(right, str) and right else right if not isinstance(right, str) else ()
        )
        room = width - 4
        head = [(" ", tone), *left, (" ", tone)] if left else []
        head = fill(head, min(line_width(head), room)) if head else []
        tail = [(" ", tone), *tail, (" ", tone)] if tail else []
        if line_width(head) + line_width(tail) + 1 > room:
            tail = []
        dashes = "─" * (room - line_width(head) - line_width(tail))
        return [(corners[0] + "─", tone), *head, (dashes, tone), *tail, ("─" + corners[1], tone)]


def _fade(tone: str) -> str:
    mark = "+" if tone.startswith("+") else ""
    bare = tone.lstrip("+*")
    return mark + _FADED.get(bare, bare)


class Scroller(Pane):
    """A pane of many lines, of which some are shown from `top` on. `tail` keeps the last ones in sight."""

    def __init__(self, desk: Desk, name: str, *, tail: bool = False) -> None:
        super().__init__(desk, name)
        self.top = 0
        self.tail = tail
        self._page = 1
        self._count = 0

    def body(self, width: int) -> list[Line]:
        """All lines."""
        raise NotImplementedError

    def paint(self, width: int, height: int) -> list[Line]:
        lines = self.body(width)
        self._page, self._count = max(1, height), len(lines)
        limit = max(0, len(lines) - height)
        self.top = limit if self.tail else max(0, min(self.top, limit))
        return lines[self.top : self.top + height]

    def caption(self) -> Line:
        if self._count <= self._page:
            return ()
        return [(f"{self.top + 1}-{min(self._count, self.top + self._page)} of {self._count}", "dim")]

    def move(self, step: int) -> None:
        """Scroll by lines."""
        self.top = max(0, min(self.top + step, max(0, self._count - self._page)))

    def move_page(self, pages: int) -> None:
        self.move(pages * max(1, self._page - 1))

    def move_to(self, *, end: bool) -> None:
        self.top = max(0, self._count - self._page) if end else 0
