"""The one screen: panes, pages over them, and the bar; which of them are seen, and what the keys do to them.

Where the operator is, is a list of levels (page, subject): one Esc takes one level away. Everything here happens at
once, in the order of the keys; only what a command does takes time, and that is the app's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from kehefl.tui import keys
from kehefl.tui.actions import Actions
from kehefl.tui.desk import Desk
from kehefl.tui.history import History
from kehefl.tui.lines import Line
from kehefl.tui.pane import Pane
from kehefl.tui.panes.bar import CommandBar
from kehefl.tui.panes.confirm import ConfirmBox
from kehefl.tui.panes.detail import DetailPage
from kehefl.tui.panes.devices import DeviceTable
from kehefl.tui.panes.events import EventLog
from kehefl.tui.panes.message import MessageLine
from kehefl.tui.panes.metrics import MetricChart
from kehefl.tui.panes.pages import HelpPage, Page, TextPage
from kehefl.tui.panes.round_page import RoundPage
from kehefl.tui.panes.rounds import Timeline
from kehefl.tui.panes.run import RunCard
from kehefl.tui.panes.status import MetricStrip, StatusLine
from kehefl.tui.text import wrap

if TYPE_CHECKING:
    from kehefl.tui.app import ConsoleApp

MIN_COLUMNS: Final = 60
MIN_LINES: Final = 16
#: From this size on all panes stand side by side.
WIDE_COLUMNS: Final = 120
WIDE_LINES: Final = 32

#: The app's style sheet; sizes that depend on the terminal are set by `lay_out`.
CSS: Final = """
ConsoleScreen { layers: base over; background: $background; }
#status, #strip, #message, #bar { height: 1; }
#confirm { layer: over; position: absolute; display: none; }
#small, #detail, #round, #help, #answer { height: 1fr; display: none; }
#body { height: 1fr; }
"""

Level = Literal["detail", "round", "help", "answer"]


class TooSmall(Pane):
    """Says which size is there and which is needed."""

    BORDERED = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "small")

    def paint(self, width: int, height: int) -> list[Line]:
        text = f"kehefl needs {MIN_COLUMNS}x{MIN_LINES} characters. This terminal is {width}x{height}: make it larger."
        lines = wrap(text, max(1, width))
        return [()] * max(0, (height - len(lines)) // 2) + [[(line, "warn")] for line in lines]


class ConsoleScreen(Actions, Screen[object]):
    """Composition, layout and levels; what each key does is in `Actions`."""

    AUTO_FOCUS = ""

    def __init__(self, desk: Desk, history: History, run_line: str) -> None:
        super().__init__()
        self.desk, self.history, self.run_line = desk, history, run_line
        self.levels: list[tuple[Level, str]] = []
        self.devices = DeviceTable(desk)
        self.timeline = Timeline(desk)
        self.metrics = MetricChart(desk)
        self.log_pane = EventLog(desk)
        self.run_card = RunCard(desk)
        self.detail, self.round_page = DetailPage(desk), RoundPage(desk)
        self.help_page, self.text_page = HelpPage(desk), TextPage(desk)
        self.bar = CommandBar(
            desk,
            history,
            submit=self.submit,
            filtered=self.set_filter,
            pressed=self.key_after,
            changed=self.pull_bar,
            closed=self.bar_closed,
        )
        self.message = MessageLine(desk, self.bar)
        self.confirm = ConfirmBox(desk, answered=self.answered)
        self.status, self.strip, self.small = StatusLine(desk), MetricStrip(desk), TooSmall(desk)
        self.left, self.right = Vertical(id="left"), Vertical(id="right")
        self.body = Horizontal(id="body")

    def compose(self) -> ComposeResult:
        yield self.small
        yield self.status
        yield self.strip
        with self.body:
            with self.left:
                yield self.devices
                yield self.run_card
            with self.right:
                yield self.timeline
                yield self.metrics
                yield self.log_pane
        yield self.detail
        yield self.round_page
        yield self.help_page
        yield self.text_page
        yield self.message
        yield self.bar
        yield self.confirm

    def on_mount(self) -> None:
        self.lay_out()
        if self.history.problem:
            self.tell("note", self.history.problem)

    def on_screen_resume(self) -> None:
        self.lay_out()

    @property
    def console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    # What is seen --------------------------------------------------------------------------------------------------

    def all_panes(self) -> list[Pane]:
        pages = [self.detail, self.round_page, self.help_page, self.text_page]
        panes = [self.devices, self.run_card, self.timeline, self.metrics, self.log_pane]
        return [self.status, self.strip, *panes, *pages, self.message, self.bar, self.confirm, self.small]

    @property
    def page(self) -> Page | None:
        """The page on top, if there is one."""
        if not self.levels:
            return None
        pages: dict[Level, Page] = {
            "detail": self.detail, "round": self.round_page, "help": self.help_page, "answer": self.text_page,
        }  # fmt: skip
        return pages[self.levels[-1][0]]

    def pane_by_name(self, name: str) -> Pane:
        return {"devices": self.devices, "rounds": self.timeline, "metrics": self.metrics, "events": self.log_pane,
                "run": self.run_card}[name]  # fmt: skip

    def pull(self) -> None:
        """Bring everything that is displayed up to date."""
        self.bar.contexts = () if self.confirm.question is not None else self.contexts()
        self.bar.can_go_back = self.can_go_back
        self._place_confirm(*self.app.size)
        for pane in self.all_panes():
            pane.pull()

    def pull_bar(self) -> None:
        """A key changed the line that is being typed: it and what it may become."""
        self.bar.pull()
        self.message.pull()

    def on_resize(self) -> None:
        self.lay_out()

    def lay_out(self) -> None:
        """Decide by size, zoom and level which panes stand where."""
        width, height = self.app.size
        desk = self.desk
        too_small = width < MIN_COLUMNS or height < MIN_LINES
        desk.wide = width >= WIDE_COLUMNS and height >= WIDE_LINES
        page = self.page
        self.small.display = too_small
        for pane in (self.status, self.strip, self.message, self.bar):
            pane.display = not too_small
        self.body.display = not too_small and page is None
        for one in (self.detail, self.round_page, self.help_page, self.text_page):
            one.display = one is page and not too_small
        shown = self._shown_panes()
        for name in keys.PANES:
            self.pane_by_name(name).display = name in shown
        self.left.display = bool({"devices", "run"} & shown)
        self.right.display = bool({"rounds", "metrics", "events"} & shown)
        self.message.log_in_sight = page is None and "events" in shown
        self._size_panes(height, shown)
        self._place_confirm(width, height)
        self.pull()

    def _shown_panes(self) -> set[str]:
        if self.desk.zoomed:
            return {self.desk.focus}
        return set(keys.PANES) if self.desk.wide else {"devices", self.desk.lower}

    def _size_panes(self, height: int, shown: set[str]) -> None:
        body = max(6, height - 4)
        lower = max(5, round(body * 0.38))
        side_by_side = self.desk.wide and not self.desk.zoomed
        self.body.styles.layout = "horizontal" if side_by_side else "vertical"
        alone = self.desk.zoomed or side_by_side
        self.left.styles.height = "1fr"
        self.right.styles.height = "1fr" if alone else lower
        self.left.styles.width = "1fr" if side_by_side else "100%"
        self.right.styles.width = "1fr" if side_by_side else "100%"
        self.devices.styles.height = "1fr"
        self.run_card.styles.height = "1fr" if self.desk.zoomed else max(lower, 12) if side_by_side else lower
        self.timeline.styles.height = max(8, round(body * 0.3)) if side_by_side else "1fr"
        self.metrics.styles.height = "1fr"
        self.log_pane.styles.height = "1fr"

    def _place_confirm(self, width: int, height: int) -> None:
        box = self.confirm
        box.display = box.question is not None and self.body.is_attached and width >= 20 and height >= 8
        if box.display:
            x, y, cells, lines = box.place(width, height)
            box.styles.offset = (x, y)
            box.styles.width, box.styles.height = cells, lines

    # Keys ----------------------------------------------------------------------------------------------------------

    @property
    def takes_keys(self) -> bool:
        """Something is open that takes every key."""
        return self.bar.is_open or self.confirm.question is not None

    def contexts(self) -> tuple[str, ...]:
        """Where the operator is, from the nearest to the widest, as the key table names it."""
        if self.levels:
            return (self.levels[-1][0], "view", "any")
        return (self.desk.focus, "main", "any")

    @property
    def can_go_back(self) -> bool:
        return bool(self.levels or self.desk.zoomed or self.desk.filter or self.desk.marked)

    def press(self, name: str) -> None:
        """Do what the key table says about a key, here and now."""
        key = keys.find(name, self.contexts())
        if key is not None:
            self.do(key)
            self.pull()

    def key_after(self, key: str, character: str | None) -> None:
        """A key that was on its way to something which has closed meanwhile."""
        if self.confirm.question is not None:
            self.confirm.take(key, character)
            self.lay_out()
        elif self.bar.is_open:
            self.bar.take(key, character)
            self.pull()
        elif key.startswith("alt+") and character is not None:
            # Esc and the next key in one packet are read as Alt by the terminal's parser.
            self.press("escape")
            self.press(character if character.isalnum() else key[4:])
        else:
            self.press(key)

    def on_key(self, event: events.Key) -> None:
        """Keys that no binding took: those of an open question, and of a bar that the terminal's focus left."""
        event.stop()
        event.prevent_default()
        self.key_after(event.key, event.character)

    def on_click(self, event: events.Click) -> None:
        """A click puts the focus on a pane, and the cursor on a device."""
        pane = event.widget
        if self.takes_keys or not isinstance(pane, Pane):
            return
        if pane.key in keys.PANES:
            self.focus_pane(pane.key)
            if isinstance(pane, DeviceTable):
                pane.pick_row(event.y)
            self.pull()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -3)

    def _wheel(self, event: events.MouseEvent, step: int) -> None:
        pane = self.page or (event.widget if isinstance(event.widget, Pane) else None)
        if pane is not None and not self.takes_keys:
            self.move(pane, step)
            self.pull()

    def bar_closed(self) -> None:
        self.set_focus(None)
