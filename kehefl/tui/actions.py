"""What the keys and the console's own commands do. A part of the screen, apart so that each can be read whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kehefl.errors import KeheflError, UsageError, nearest
from kehefl.server.commands import Command, describe, parse
from kehefl.tui import keys, pictures, questions, view
from kehefl.tui.keys import Key
from kehefl.tui.palette import THEMES
from kehefl.tui.pane import Pane, Scroller
from kehefl.tui.panes.confirm import Question
from kehefl.tui.panes.devices import DeviceTable
from kehefl.tui.panes.events import EventLog
from kehefl.tui.panes.rounds import Timeline
from kehefl.tui.text import clean

if TYPE_CHECKING:
    from kehefl.tui.screen import ConsoleScreen, Level

REFRESH_MIN_S = 0.1
REFRESH_MAX_S = 60.0


class Actions:
    """Methods `do_<action>` of the key table, and how a command line is carried out."""

    # The screen this is a part of; typed here once instead of in each method.
    @property
    def _screen(self) -> ConsoleScreen:
        screen: Any = self
        return screen  # type: ignore[no-any-return]

    def do(self, key: Key) -> None:
        action = getattr(self, f"do_{key.action}")
        if key.argument:
            action(key.argument)
        else:
            action()

    # Lines ---------------------------------------------------------------------------------------------------------

    def submit(self, line: str) -> bool:
        """Carry out a line from the bar or from a key. Whether it is to be kept in the bar, because it is wrong."""
        screen = self._screen
        try:
            command = parse(line)
            if screen.desk.read_only and command.verb.name not in questions.HARMLESS:
                self.tell("failed", f"{command.verb.name}: this console is read-only. Start it without --read-only.")
                return False
            if command.verb.where == "face":
                self._face(command)
            elif command.verb.destructive:
                screen.confirm.ask(questions.about(command, screen.desk))
                screen.lay_out()
            else:
                screen.console.execute(line)
        except KeheflError as error:
            self.tell("failed", str(error))
            return True
        return False

    def answered(self, question: Question, yes: bool) -> None:
        """The question was answered."""
        if yes:
            self._screen.console.execute(question.line)
        else:
            self.tell("note", f"{question.line}: cancelled, nothing was changed.")
        self._screen.lay_out()

    def tell(self, kind: str, text: str) -> None:
        """Show what became of something: `pending`, `done`, `failed` or `note`."""
        self._screen.message.show(kind, text)
        self._screen.pull()

    def answer(self, line: str, text: str) -> None:
        """What the core said to a command: one line stays in place, more get a page."""
        text = text.strip("\n")
        if "\n" not in text:
            self.tell("done", text or line)
            return
        screen = self._screen
        screen.text_page.answer = text
        screen.text_page.top = 0
        self.tell("done", line)
        self.enter("answer", line)

    def _face(self, command: Command) -> None:
        screen, desk = self._screen, self._screen.desk
        match command.verb.name:
            case "help":
                if command.targets:
                    self.answer(command.line, describe(" ".join(command.targets)) + "\n")
                else:
                    self.do_help()
            case "filter":
                self.set_filter(" ".join(command.targets), True)
                self.focus_pane("devices")
            case "sort":
                self._sort(command.targets)
            case "set":
                self._set(command)
            case "quit":
                screen.console.leave()
            case name:
                raise UsageError(f"'{name}' is not known to this console.")
        desk.now = screen.console.clock()
        screen.pull()

    def _sort(self, targets: tuple[str, ...]) -> None:
        desk = self._screen.desk
        if not targets:
            raise UsageError(f"'sort' needs a column. {nearest('', view.SORTS)}")
        column = view.check_column(targets[0])
        direction = targets[1] if len(targets) > 1 else "asc"
        if direction not in {"asc", "desc"}:
            raise UsageError(f"'sort' goes asc or desc, not '{direction}'.")
        desk.sort, desk.descending = column, direction == "desc"

    def _set(self, command: Command) -> None:
        screen = self._screen
        if not command.options:
            raise UsageError("'set' needs theme= or refresh=. For example: set theme=light")
        theme, refresh = command.options.get("theme"), command.options.get("refresh")
        if theme is not None and theme not in THEMES:
            raise UsageError(f"There is no theme '{theme}'. {nearest(theme, THEMES)}")
        if refresh is not None:
            try:
                seconds = float(refresh.removesuffix("s"))
            except ValueError:
                raise UsageError(f"'refresh={refresh}' is not a number of seconds.") from None
            if not REFRESH_MIN_S <= seconds <= REFRESH_MAX_S:
                raise UsageError(f"'refresh' goes from {REFRESH_MIN_S:g} to {REFRESH_MAX_S:g} seconds.")
            screen.console.set_refresh(seconds)
        if theme is not None:
            screen.console.set_look(theme)
        self.tell("done", command.line)

    # The bar -------------------------------------------------------------------------------------------------------

    def open_bar(self, text: str = "") -> None:
        screen = self._screen
        screen.bar.open("command", text)
        screen.set_focus(screen.bar)

    def do_bar(self) -> None:
        self.open_bar()

    def do_filter(self) -> None:
        screen = self._screen
        screen.levels.clear()
        self.focus_pane("devices")
        screen.bar.open("filter", screen.desk.filter)
        screen.set_focus(screen.bar)

    def set_filter(self, text: str, final: bool) -> None:
        """The filter is taken at every key; the table shows at once what it leaves."""
        screen = self._screen
        screen.desk.filter = clean(text).strip() if final else clean(text)
        screen.pull()

    # The run -------------------------------------------------------------------------------------------------------

    def do_start(self) -> None:
        self.submit(self._screen.run_line)

    def do_start_with(self) -> None:
        self.open_bar(self._screen.run_line)

    def do_pause(self) -> None:
        run = self._screen.desk.store.run
        self.submit("run resume" if run is not None and run.status == "paused" else "run pause")

    def do_abort(self) -> None:
        self.submit("run abort")

    def do_interrupt(self) -> None:
        self.tell("note", "Ctrl+C stops nothing here. q leaves the console, x aborts the run (it asks first).")

    def do_quit(self) -> None:
        self._screen.console.leave()

    # Looking -------------------------------------------------------------------------------------------------------

    def enter(self, level: Level, subject: str) -> None:
        """Go one level down; a level that is there already is not entered twice."""
        screen = self._screen
        if screen.levels and screen.levels[-1][0] == level:
            screen.levels.pop()
        screen.levels.append((level, subject))
        page = screen.page
        if page is not None:
            start = {"devices": "Devices", "rounds": "Rounds"}.get(screen.desk.focus, screen.desk.focus.title())
            page.trail = (start, *(subject for _, subject in screen.levels))
        screen.lay_out()

    def do_detail(self) -> None:
        screen = self._screen
        device = screen.devices.current()
        if device is not None:
            screen.detail.device, screen.detail.top = device.name, 0
            self.enter("detail", device.name)

    def do_round(self) -> None:
        screen = self._screen
        current = screen.timeline.current()
        if current is not None:
            screen.round_page.shown, screen.round_page.top = (current.number, current.attempt), 0
            attempt = f" attempt {current.attempt}" if current.attempt > 1 else ""
            self.enter("round", f"round {current.number}{attempt}")

    def do_help(self) -> None:
        self._screen.help_page.top = 0
        self.enter("help", "Help")

    def do_back(self) -> None:
        """One level, never more: a page, the zoom, the filter, the marks."""
        screen, desk = self._screen, self._screen.desk
        if screen.levels:
            screen.levels.pop()
        elif desk.zoomed:
            desk.zoomed = False
        elif desk.filter:
            desk.filter = ""
        elif desk.marked:
            desk.marked.clear()
        screen.lay_out()

    def home(self) -> None:
        """Back to the panes, whatever is open."""
        screen = self._screen
        screen.levels.clear()
        screen.desk.zoomed = False
        if screen.bar.is_open:
            screen.bar.close()
        screen.confirm.question = None
        screen.lay_out()

    def focus_pane(self, name: str) -> None:
        desk = self._screen.desk
        desk.focus = name
        if name != "devices":
            desk.lower = name
        self._screen.lay_out()

    def do_pane(self, name: str) -> None:
        self.focus_pane(name)

    def do_next_pane(self) -> None:
        self._cycle_pane(1)

    def do_previous_pane(self) -> None:
        self._cycle_pane(-1)

    def _cycle_pane(self, step: int) -> None:
        place = keys.PANES.index(self._screen.desk.focus)
        self.focus_pane(keys.PANES[(place + step) % len(keys.PANES)])

    def do_zoom(self) -> None:
        desk = self._screen.desk
        desk.zoomed = not desk.zoomed
        self._screen.lay_out()

    def do_mark(self) -> None:
        """Mark or unmark the device under the cursor and go to the next."""
        screen = self._screen
        device = screen.devices.current()
        if device is not None:
            screen.desk.marked ^= {device.name}
            screen.devices.move(1)

    def do_sort(self) -> None:
        desk = self._screen.desk
        columns = [*view.SORTS]
        self.submit(f"sort {columns[(columns.index(desk.sort) + 1) % len(columns)]}")

    def do_sort_back(self) -> None:
        desk = self._screen.desk
        self.submit(f"sort {desk.sort} {'asc' if desk.descending else 'desc'}")

    def do_theme(self) -> None:
        self.submit(f"set theme={'light' if self._screen.desk.theme == 'dark' else 'dark'}")

    def do_copy(self) -> None:
        """Send what the cursor is on to the terminal's clipboard. Whether the terminal takes it nobody tells."""
        text = self._copied()
        if not text:
            self.tell("note", "There is nothing here to copy.")
            return
        self._screen.console.copy_to_clipboard(text)
        lines = text.count("\n") + 1
        what = clean(text) if lines == 1 and len(text) <= 40 else f"{lines} lines"
        self.tell("done", f"Sent to the terminal's clipboard (OSC 52): {what}")

    def _copied(self) -> str:
        screen, desk = self._screen, self._screen.desk
        if screen.page is not None:
            lines = screen.page.body(max(40, screen.page.size.width - 4))
            return "\n".join(clean("".join(text for text, _ in line)).rstrip() for line in lines)
        if desk.focus == "devices":
            device = screen.devices.current()
            picture = pictures.of(desk)
            command = "\n".join(picture.commands) if picture else ""
            return "\n".join(sorted(desk.marked)) or (device.name if device else command)
        if desk.focus == "events":
            return clean(screen.log_pane.last_line())
        shown = screen.pane_by_name(desk.focus).text()[1:-1]
        return "\n".join(line.strip("│|").rstrip() for line in shown).strip("\n")

    # Moving --------------------------------------------------------------------------------------------------------

    @property
    def _moved(self) -> Pane:
        return self._screen.page or self._screen.pane_by_name(self._screen.desk.focus)

    def move(self, pane: Pane, step: int) -> None:
        if isinstance(pane, DeviceTable | Timeline | EventLog | Scroller):
            pane.move(step)

    def do_down(self) -> None:
        self.move(self._moved, 1)

    def do_up(self) -> None:
        self.move(self._moved, -1)

    def do_page_down(self) -> None:
        self._move_page(1)

    def do_page_up(self) -> None:
        self._move_page(-1)

    def _move_page(self, pages: int) -> None:
        pane = self._moved
        if isinstance(pane, DeviceTable | Timeline | EventLog | Scroller):
            pane.move_page(pages)

    def do_first(self) -> None:
        self._move_to(end=False)

    def do_last(self) -> None:
        self._move_to(end=True)

    def _move_to(self, *, end: bool) -> None:
        pane = self._moved
        if isinstance(pane, DeviceTable | Timeline | EventLog | Scroller):
            pane.move_to(end=end)
