"""The terminal, made safe against its own end.

When an SSH connection breaks, writing to the terminal fails. Textual's writer thread dies of that, its queue fills up,
and the next write blocks the event loop for good, and the server core with it. Here such writes go nowhere instead;
SIGHUP then ends the console in good order.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

from textual.driver import Driver


class LastingFile:
    """A text file that takes writes even after what is behind it has gone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.is_gone = False

    def write(self, text: str) -> int:
        if not self.is_gone:
            try:
                return self._file.write(text)
            except OSError:
                self.is_gone = True
        return len(text)

    def flush(self) -> None:
        if not self.is_gone:
            try:
                self._file.flush()
            except OSError:
                self.is_gone = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def driver_class() -> type[Driver] | None:
    """Textual's driver with a lasting file; None, for Textual's own choice, where that is another one."""
    if sys.platform == "win32":
        return None
    from textual.drivers.linux_driver import LinuxDriver

    class LastingDriver(LinuxDriver):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if self._file is not None:
                self._file: Any = LastingFile(self._file)

    return LastingDriver
