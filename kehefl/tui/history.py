"""The command history, kept across runs in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

KEPT_LINES: Final = 500


class History:
    """Lines typed so far, oldest first. Without a path they last as long as the console."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.problem = ""
        self.lines: list[str] = []
        if path is not None:
            try:
                self.lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-KEPT_LINES:]
            except FileNotFoundError:
                pass
            except OSError as error:
                self.problem = f"The command history {path} cannot be read: {error.strerror}."

    def add(self, line: str) -> None:
        """Remember a line; one that repeats the last is kept once. A file that cannot be written is told once."""
        line = line.strip()
        if not line or self.lines[-1:] == [line]:
            return
        self.lines = [*self.lines, line][-KEPT_LINES:]
        if self._path is None:
            return
        try:
            self._write(self._path)
        except OSError as error:
            self.problem = f"The command history {self._path} cannot be kept: {error.strerror}."
            self._path = None

    def _write(self, path: Path) -> None:
        """Replace the file whole, so that a crash leaves the old or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write("\n".join(self.lines) + "\n")
            new.replace(path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
            raise
