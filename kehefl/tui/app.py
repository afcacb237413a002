"""The operator console: owns the core, the clock and the keys; everything that is seen is in `screen.py`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar, Final

from rich.console import Console
from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from kehefl.errors import KeheflError
from kehefl.server.events import Level, Stamped
from kehefl.tui import keys
from kehefl.tui.core import Core
from kehefl.tui.desk import Desk
from kehefl.tui.history import History
from kehefl.tui.hosting import CoreHost
from kehefl.tui.palette import PLAIN, THEMES, textual_theme
from kehefl.tui.screen import CSS, ConsoleScreen
from kehefl.tui.store import reduce
from kehefl.tui.terminal import driver_class

_log = logging.getLogger(__name__)

#: The core gets this long to say goodbye to broker and devices.
STOP_LIMIT_S: Final = 15.0
#: Events folded in between two ticks, when the tick is slow.
INBOX_LIMIT: Final = 5000
#: Commands under way get this long when the console is left.
COMMANDS_LIMIT_S: Final = 3.0
STARTING: Final = "Starting the broker link, the server core and its devices."
STOPPING: Final = "Closing the run's record, the devices and the broker link."


class ConsoleApp(App[int], inherit_bindings=False):
    """Paints first; the core is opened after that, in a task of its own."""

    ENABLE_COMMAND_PALETTE = False
    CSS = CSS
    #: Every key of the table comes here first, in order, before any widget: `check_action` lets it through to an open
    #: bar or question. A burst of keys in one packet can therefore never overtake the focus.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(name, f"press({name!r})", show=False, priority=True) for name in keys.names()
    ]

    def __init__(
        self,
        open_core: Callable[[], AbstractAsyncContextManager[Core]],
        *,
        title_note: str = "",
        read_only: bool = False,
        ascii_only: bool = False,
        history_path: Path | None = None,
        run_line: str = "run start federated rounds=20",
        clock: Callable[[], float] = time.time,
        refresh_s: float = 0.5,
        theme: str = "dark",
    ) -> None:
        plain = _plain_look()
        # Terminal colours alone, so that nothing is painted over the terminal's own ground.
        super().__init__(driver_class=driver_class(), ansi_color=True if plain else None)
        self._is_plain = bool(plain)
        self.clock = clock
        self.refresh_s = refresh_s
        self.desk = Desk(
            theme=plain or theme,
            ascii_only=ascii_only,
            read_only=read_only,
            note=title_note,
            now=clock(),
            starting=STARTING,
        )
        self.console_screen = ConsoleScreen(self.desk, History(history_path), run_line)
        self._host = CoreHost(open_core, opened=self._take_core, failed=self._fail, crashed=self._crash)
        self._core: Core | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._inbox: deque[Stamped] = deque()
        self._commands: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._quit_status = 0
        for name in (*THEMES, *PLAIN):
            self.register_theme(textual_theme(name))
        self.theme = f"kehefl-{self.desk.theme}"

    # Life ----------------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[object]:
        return self.console_screen

    def on_mount(self) -> None:
        self._ticker = self.set_interval(self.refresh_s, self.tick)
        self.call_after_refresh(self._host.begin)

    async def on_unmount(self) -> None:
        await self.close_core()

    def tick(self) -> None:
        """The one place where time passes on the screen."""
        self.desk.now = self.clock()
        self.drain()
        self.console_screen.devices.take(self.desk.store.take_dirty())
        self.console_screen.pull()

    def leave(self, status: int | None = None) -> None:
        """Stop the core, then the console. Asked a second time it does not wait."""
        if self._leaving is not None:
            self._host.hurry()
            return
        self._quit_status = self._quit_status if status is None else status
        self.desk.stopping = STOPPING
        self.console_screen.home()
        self._leaving = asyncio.create_task(self._leave(), name="kehefl console leaves")

    async def close_core(self) -> None:
        """Leave the core's context if the console ended in any other way than by `leave`."""
        for task in self._commands:
            task.cancel()
        await self._host.stop(STOP_LIMIT_S)

    async def _leave(self) -> None:
        if self._commands:
            # A line that was sent right before is carried out, not dropped.
            await asyncio.wait(self._commands, timeout=COMMANDS_LIMIT_S)
        if not await self._host.stop(STOP_LIMIT_S):
            _log.warning("The core did not stop within %s s and was cancelled", STOP_LIMIT_S)
        self.exit(return_code=self._quit_status)

    # The core ------------------------------------------------------------------------------------------------------

    def _take_core(self, core: Core) -> None:
        self._core = core
        self.desk.starting = ""
        self.desk.known = core.known
        # In one tick of the loop: no event falls between the snapshot and the stream.
        self._unsubscribe = core.subscribe(self.receive)
        self._inbox.extend(core.snapshot())
        self.tick()

    def receive(self, stamped: Stamped) -> None:
        """Keep an event for the next tick. Nothing that the console does with it can stop the core."""
        self._inbox.append(stamped)
        if len(self._inbox) == INBOX_LIMIT:
            self.call_next(self.drain)

    def drain(self) -> None:
        """Fold in what came."""
        while self._inbox:
            reduce(self.desk.store, self._inbox.popleft())

    def note(self, level: Level, name: str, text: str) -> None:
        """A line of the log that is this console's own."""
        self.desk.store.note(self.clock(), level, name, text)

    def _fail(self, sentence: str) -> None:
        self.desk.starting = ""
        self.desk.fault = sentence
        self._quit_status = 1
        self.tick()

    def _crash(self, error: Exception) -> None:
        _log.error("The core ended with a fault of kehefl", exc_info=error)
        self._handle_exception(error)

    def _fatal_error(self) -> None:
        """End with a plain traceback: that of Textual shows local variables, which may hold a password."""
        error = self._exception
        told = "".join(traceback.format_exception(error)) if error is not None else traceback.format_exc()
        self.panic(Text(f"{told}\nThe console ended by a fault of kehefl. What was recorded is kept."))

    def execute(self, line: str) -> None:
        """Send a command line to the core; what becomes of it is shown."""
        core = self._core
        if core is None:
            self.console_screen.tell("failed", f"{line}: the server core is not there (yet).")
            return
        self.console_screen.tell("pending", line)
        task = asyncio.create_task(self._execute(core, line), name=f"command {line}")
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _execute(self, core: Core, line: str) -> None:
        try:
            text = await core.submit(line, origin="console", marked=frozenset(self.desk.marked))
        except KeheflError as error:
            self.console_screen.tell("failed", str(error))
        except Exception as error:  # noqa: BLE001 - shown and logged; the run goes on
            _log.exception("The command %r failed by a fault of kehefl", line)
            self.console_screen.tell("failed", f"{line}: a fault of kehefl ({type(error).__name__}: {error})")
        else:
            self.console_screen.answer(line, text)

    # Keys ----------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key of the table means anything here; if not it goes on to whoever has the focus."""
        if action != "press":
            return super().check_action(action, parameters)
        screen = self.console_screen
        return not screen.takes_keys and keys.find(str(parameters[0]), screen.contexts()) is not None

    def action_press(self, name: str) -> None:
        """Do what the key table says, knowing all that came."""
        self.drain()
        self.console_screen.press(name)

    def set_refresh(self, seconds: float) -> None:
        """Another rhythm for the tick."""
        self._ticker.stop()
        self.refresh_s = seconds
        self._ticker = self.set_interval(seconds, self.tick)

    def set_look(self, theme: str) -> None:
        """Change the theme; a terminal with few colours or none has only one."""
        if not self._is_plain:
            self.desk.theme = theme
            self.theme = f"kehefl-{theme}"


def _plain_look() -> str:
    """The look for a terminal that has fewer colours than the themes need; empty when it has enough."""
    # An empty NO_COLOR is none (no-color.org); Textual would take it for one.
    if os.environ.get("NO_COLOR"):
        return "none"
    os.environ.pop("NO_COLOR", None)
    terminal = Console(file=sys.__stderr__)
    return {None: "none", "standard": "basic"}.get(terminal.color_system, "") if terminal.is_terminal else ""
