"""A line of text being typed: what it holds, where the cursor is, what was typed before. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class LineEdit:
    """The usual keys of a shell's line. `take` says whether the key was one of them."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0

    def set(self, text: str) -> None:
        self.text, self.at = text, len(text)

    def insert(self, text: str) -> None:
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def take(self, key: str, character: str | None) -> bool:
        before = self.text[: self.at]
        match key:
            case "left" | "ctrl+b":
                self.at = max(0, self.at - 1)
            case "right" | "ctrl+f":
                self.at = min(len(self.text), self.at + 1)
            case "home" | "ctrl+a":
                self.at = 0
            case "end" | "ctrl+e":
                self.at = len(self.text)
            case "ctrl+left":
                self.at = len(before.rstrip().rpartition(" ")[0] + " ") if " " in before.rstrip() else 0
            case "backspace" | "ctrl+h":
                self._keep(before[:-1])
            case "delete" | "ctrl+d":
                self.text = before + self.text[self.at + 1 :]
            case "ctrl+w" | "ctrl+backspace" | "alt+backspace":
                head, space, _ = before.rstrip().rpartition(" ")
                self._keep(head + space)
            case "ctrl+u":
                self._keep("")
            case "ctrl+k":
                self.text = before
            case _:
                if character is None or not character.isprintable():
                    return False
                self.insert(character)
        return True

    def _keep(self, head: str) -> None:
        self.text = head + self.text[self.at :]
        self.at = len(head)


class Recall:
    """Walking through earlier lines with up and down; what was begun comes back at the bottom."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = [*lines]
        self._place = len(self._lines)
        self._begun = ""

    def older(self, present: str) -> str:
        if self._place == len(self._lines):
            self._begun = present
        # Only lines that begin like the one begun, as in a good shell.
        for place in range(self._place - 1, -1, -1):
            if self._lines[place].startswith(self._begun):
                self._place = place
                return self._lines[place]
        return present

    def newer(self, present: str) -> str:
        for place in range(self._place + 1, len(self._lines)):
            if self._lines[place].startswith(self._begun):
                self._place = place
                return self._lines[place]
        if self._place < len(self._lines):
            self._place = len(self._lines)
            return self._begun
        return present
