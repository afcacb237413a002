"""The question before something is destroyed: what, to whom, with what consequence. Cancel has the focus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line
from kehefl.tui.pane import Pane
from kehefl.tui.text import wrap

MAX_CELLS = 66


@dataclass(frozen=True, slots=True)
class Question:
    """`count` devices at once have to be typed as a number; None asks for nothing.

    `line` is what a yes sends. `fresh` tells the sentences anew while the question stands and the world goes on.
    """

    title: str
    sentences: tuple[str, ...]
    yes: str
    line: str
    count: int | None = None
    fresh: Callable[[], tuple[str, ...]] | None = None


class ConfirmBox(Pane):
    """It takes every key while it is open."""

    def __init__(self, desk: Desk, *, answered: Callable[[Question, bool], None]) -> None:
        super().__init__(desk, "confirm")
        self.question: Question | None = None
        self.on_yes = False
        self.typed = ""
        self.problem = ""
        self._answered = answered

    @property
    def is_focused(self) -> bool:
        return True

    def ask(self, question: Question) -> None:
        self.question = question
        self.on_yes = False
        self.typed = self.problem = ""

    def take(self, key: str, character: str | None) -> None:
        question = self.question
        if question is None:
            return
        if key in {"tab", "shift+tab", "left", "right", "h", "l", "up", "down"}:
            self.on_yes = not self.on_yes
        elif key in {"escape", "ctrl+c", "q", "n"}:
            self._answer(False)
        elif key == "enter":
            if self.on_yes and question.count is not None and self.typed != str(question.count):
                self.problem = f"Type {question.count} to go on: that many devices are meant."
            else:
                self._answer(self.on_yes)
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif question.count is not None and character is not None and character in "0123456789":
            self.typed = (self.typed + character)[:9]

    def _answer(self, yes: bool) -> None:
        question, self.question = self.question, None
        if question is not None:
            self._answered(question, yes)

    def title(self) -> Line:
        return [(self.question.title, "*bad")] if self.question else ()

    def place(self, width: int, height: int) -> tuple[int, int, int, int]:
        """x, y, width and height of the box in a screen of that size."""
        cells = min(MAX_CELLS, width - 4)
        lines = min(height - 4, len(self.paint(cells - 4, height - 6)) + 2)
        return (width - cells) // 2, max(0, (height - lines) // 2), cells, lines

    def paint(self, width: int, height: int) -> list[Line]:
        question = self.question
        if question is None:
            return []
        told: list[Line] = []
        for sentence in question.fresh() if question.fresh else question.sentences:
            told += [[(line, "text")] for line in wrap(sentence, width)]
        asked: list[Line] = []
        if question.count is not None:
            asked.append([("Number of devices: ", "dim"), (self.typed, "*text"), (" ", "cursor")])
            asked += [[(line, "warn")] for line in wrap(self.problem, width) if self.problem]
            asked.append(())
        cancel, yes = ("dim", "cursor") if self.on_yes else ("cursor", "dim")
        # Brackets, so that the choice is seen without colour too.
        left, right = ("  Cancel  ", f"[ {question.yes} ]") if self.on_yes else ("[ Cancel ]", f"  {question.yes}  ")
        asked.append([(left, cancel), ("  ", "text"), (right, yes)])
        asked.append([("Tab chooses, Enter answers, Esc cancels", "faint")])
        spacious: list[Line] = [(), *told, (), *asked]
        if len(spacious) <= height:
            return spacious
        # Where there is little room the answers stay in sight.
        return [*told[: max(1, height - len(asked))], *asked]
