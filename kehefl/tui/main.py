"""Running the console on a terminal, and the plain text of `--once`, for which no Textual is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kehefl.errors import RefusedError, UsageError, nearest
from kehefl.server.events import Level
from kehefl.tui.core import Core
from kehefl.tui.once import is_settled, picture

if TYPE_CHECKING:
    from kehefl.tui.app import ConsoleApp

RUN_LINE: Final = "run start federated rounds=20"
#: How long a lone Esc waits for the rest of a key sequence, which a terminal sends in one piece.
ESC_DELAY_MS: Final = "25"
#: Nothing new for this long: everybody who was there has said so.
QUIET_S: Final = 0.3
#: Signals that ask the console to end in good order; its exit status is 128 + their number.
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def run_console(
    open_core: Callable[[], AbstractAsyncContextManager[Core]],
    *,
    title_note: str = "",
    read_only: bool = False,
    ascii_only: bool = False,
    history_path: Path | None = None,
    log_path: Path | None = None,
    theme: str | None = None,
    run_line: str = RUN_LINE,
) -> int:
    """Run the console until it is left and return the exit status. Raises KeheflError before it draws anything."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise RefusedError(
            "The console needs a terminal. For one picture as text: --once; without a screen: kehefl server"
        )
    # Textual reads it when it is imported. In its own 100 ms a fast typist is at the next key, and an Esc before a
    # punctuation mark is then lost.
    os.environ.setdefault("ESCDELAY", ESC_DELAY_MS)
    from kehefl.tui.app import ConsoleApp
    from kehefl.tui.palette import THEMES

    if theme is not None and theme not in THEMES:
        raise UsageError(f"There is no theme '{theme}'. {nearest(theme, THEMES)}")
    app = ConsoleApp(
        open_core,
        title_note=title_note,
        read_only=read_only,
        ascii_only=ascii_only,
        history_path=history_path,
        run_line=run_line,
        theme=theme or "dark",
    )
    return asyncio.run(_run(app, log_path))


async def once(core: Core, *, patience_s: float = 3.0) -> str:
    """What is known of the federation, as plain text; no terminal, no Textual.

    A core that was just opened is given up to `patience_s` to reach its broker and hear of its devices.
    """
    came = asyncio.Event()
    unsubscribe = core.subscribe(lambda _: came.set())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not is_settled(core.snapshot()):
                    came.clear()
                    await came.wait()
                # The first device is there; the others of its kind come at once.
                while True:
                    came.clear()
                    await asyncio.wait_for(came.wait(), QUIET_S)
    finally:
        unsubscribe()
    return picture(core.snapshot())


async def _run(app: ConsoleApp, log_path: Path | None) -> int:
    loop = asyncio.get_running_loop()
    for one in _ENDING:
        loop.add_signal_handler(one, app.call_later, app.leave, 128 + one)
    with _log_apart(app, loop, log_path):
        try:
            await app.run_async()
        finally:
            await app.close_core()
    for one in _ENDING:
        loop.remove_signal_handler(one)
    return app.return_code or 0


@contextlib.contextmanager
def _log_apart(app: ConsoleApp, loop: asyncio.AbstractEventLoop, path: Path | None) -> Iterator[None]:
    """Log to `path` and, from warnings on, to the events pane; never to the terminal, which is drawn on."""
    handlers: list[logging.Handler] = [_ToEvents(app, loop)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        to_file = logging.FileHandler(path, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(to_file)
    root = logging.getLogger()
    before, root.handlers = root.handlers, handlers
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = before
        for handler in handlers:
            handler.close()


class _ToEvents(logging.Handler):
    """Warnings of any library become lines of the events pane."""

    def __init__(self, app: ConsoleApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._app, self._loop = app, loop

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        # After the loop has ended the file alone gets it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._app.note, level, "LOG", f"{record.name}: {text}")
