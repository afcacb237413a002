"""The last line: hints for the keys, or, when it is open, the command or filter being typed.

Keys reach an open bar through its own key method, in order and at once: nothing of a burst goes to the hotkeys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from textual import events
from textual.geometry import Offset

from kehefl.tui import completion, keys
from kehefl.tui.desk import Desk
from kehefl.tui.edit import LineEdit, Recall
from kehefl.tui.history import History
from kehefl.tui.lines import Line, join, line_width
from kehefl.tui.pane import Pane
from kehefl.tui.text import clean, width

Mode = Literal["", "command", "filter"]


class CommandBar(Pane):
    """`submit` gets the line and says whether it is to be kept; `filtered` gets the filter at every key."""

    BORDERED = False
    can_focus = True

    def __init__(
        self,
        desk: Desk,
        history: History,
        *,
        submit: Callable[[str], bool],
        filtered: Callable[[str, bool], None],
        pressed: Callable[[str, str | None], None],
        changed: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(desk, "bar")
        self.mode: Mode = ""
        self.edit = LineEdit()
        self.offered: list[str] = []
        self.contexts: Sequence[str] = ("any",)
        self.can_go_back = False
        self._history = history
        self._recall = Recall(())
        self._offer = -1
        self._submit, self._filtered, self._pressed = submit, filtered, pressed
        self._when_changed, self._when_closed = changed, closed

    @property
    def is_open(self) -> bool:
        return bool(self.mode)

    def open(self, mode: Mode, text: str = "") -> None:
        """Take the line; the caller sets the focus."""
        self.mode = mode
        self.edit.set(text)
        self._recall = Recall(self._history.lines)
        self._stop_cycling()

    def close(self) -> None:
        self.mode = ""
        self.edit.set("")
        self.offered = []
        self._when_closed()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if self.is_open:
            self.take(event.key, event.character)
        else:
            # It was closed by a key of the same burst: this one is for whatever is there now.
            self._pressed(event.key, event.character)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        if self.is_open and event.text:
            self.edit.insert(clean(event.text.splitlines()[0]))
            self._typed()

    def take(self, key: str, character: str | None) -> None:
        """One key of the operator."""
        edit = self.edit
        match key:
            case "escape" | "ctrl+c":
                if self.mode == "filter":
                    self._filtered("", True)
                self.close()
            case "enter":
                self._enter()
            case "tab" | "shift+tab" if self.mode == "command":
                self._cycle(-1 if key == "shift+tab" else 1)
            case "up" if self.mode == "command":
                edit.set(self._recall.older(edit.text))
                self._stop_cycling()
            case "down" if self.mode == "command":
                edit.set(self._recall.newer(edit.text))
                self._stop_cycling()
            case "right" | "end" if edit.at == len(edit.text) and self.ghost:
                edit.set(edit.text + self.ghost)
                self._typed()
            case "backspace" if not edit.text:
                if self.mode == "filter":
                    self._filtered("", True)
                self.close()
            case _ if key.startswith("alt+") and character is not None:
                # Esc and the next key in one packet are read as Alt by the terminal's parser.
                self.take("escape", None)
                self._pressed(character if character.isalnum() else key[4:], character)
            case _:
                if edit.take(key, character):
                    self._typed()
        self._when_changed()

    @property
    def ghost(self) -> str:
        """What the first candidate would add, shown after the cursor."""
        if self.mode != "command" or self.edit.at != len(self.edit.text) or self._offer >= 0:
            return ""
        return completion.ghost(self.edit.text, self.desk)

    def paint(self, cells: int, height: int) -> list[Line]:
        if self.is_open:
            return [self._typing(cells)]
        return [self._hints(cells)]

    def _enter(self) -> None:
        line = self.edit.text.strip()
        if self.mode == "filter":
            self._filtered(line, True)
            self.close()
            return
        if not line:
            self.close()
            return
        self._history.add(line)
        # Closed first: what the line does (a question, a page) may take the keys that follow in the same burst.
        text, at = self.edit.text, self.edit.at
        self.close()
        if self._submit(line):
            self.open("command", text)
            self.edit.at = at

    def _typed(self) -> None:
        self._stop_cycling()
        if self.mode == "filter":
            self._filtered(self.edit.text, False)

    def _stop_cycling(self) -> None:
        self._offer = -1
        self.offered = completion.candidates(self.edit.text, self.desk) if self.mode == "command" else []

    def _cycle(self, step: int) -> None:
        if not self.offered:
            return
        if len(self.offered) == 1:
            only = self.offered[0]
            self.edit.set(only if only.endswith("=") else only + " ")
            self._stop_cycling()
            return
        self._offer = (self._offer + step) % len(self.offered) if self._offer >= 0 else (0 if step > 0 else -1)
        self._offer %= len(self.offered)
        self.edit.set(self.offered[self._offer])

    @property
    def choices(self) -> list[str]:
        """The last words of the candidates, for the line above; the chosen one is at `chosen`."""
        return [clean(line.rpartition(" ")[2]) for line in self.offered]

    @property
    def chosen(self) -> int:
        return self._offer

    def _typing(self, cells: int) -> Line:
        text = clean(self.edit.text)
        at = min(self.edit.at, len(text))
        before, under, after = text[:at], text[at : at + 1], text[at + 1 :]
        ghost = clean(self.ghost)
        # The cursor stays in sight: what is to the left of it gives way.
        while width(before) > cells - 4:
            before = before[1:]
        self.app.cursor_position = self.region.offset + Offset(min(cells - 1, 2 + width(before)), 0)
        sign = ":" if self.mode == "command" else "/"
        line: list[tuple[str, str]] = [
            (" ", "text"),
            (sign, "key"),
            (before, "text"),
            (under or ghost[:1] or " ", "cursor"),
        ]
        line += [(after, "text"), (ghost[1:] if not under else "", "faint")]
        return line

    def _hints(self, cells: int) -> Line:
        run = self.desk.store.run
        found = keys.hints(
            self.contexts,
            can_go_back=self.can_go_back,
            paused=run is not None and run.status == "paused",
            running=run is not None and run.status == "running",
        )
        pieces: list[Line] = []
        for key in found:
            word = "resume" if key.hint == "pause" and run is not None and run.status == "paused" else key.hint
            shown = key.label(ascii_only=self.desk.ascii_only)
            gap = "" if len(shown) == 1 and not shown.isalnum() else " "
            piece: Line = [(shown + gap, "key"), (word, "dim")]
            if line_width(join([*pieces, piece])) + 1 > cells:
                break
            pieces.append(piece)
        return [(" ", "text"), *join(pieces)]
