"""Pages over the panes: help and the answers of commands. Each says where it is and goes back by one Esc."""

from __future__ import annotations

from kehefl.server.commands import COMMANDS
from kehefl.tui import keys
from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line
from kehefl.tui.pane import Scroller
from kehefl.tui.text import clean, wrap


class Page(Scroller):
    """`trail` is the way here, drawn as breadcrumbs."""

    def __init__(self, desk: Desk, name: str) -> None:
        super().__init__(desk, name)
        self.trail: tuple[str, ...] = ()

    @property
    def is_focused(self) -> bool:
        return True

    def title(self) -> Line:
        out: list[tuple[str, str]] = []
        for i, crumb in enumerate(self.trail):
            last = i == len(self.trail) - 1
            out += [(crumb, "title" if last else "dim"), *([] if last else [(" › ", "faint")])]
        return out


class HelpPage(Page):
    """Made from the key table and the command table: nothing is said twice, nothing is forgotten."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "help")

    def body(self, width: int) -> list[Line]:
        lines: list[Line] = []
        for group, members in keys.by_group():
            lines += [[(group, "title")]]
            for key in members:
                where = "" if {"any", "main"} & set(key.where) else f" (in {', '.join(key.where)})"
                command = f"  :{key.command}" if key.command else ""
                name = key.label(ascii_only=self.desk.ascii_only)
                for i, text in enumerate(wrap(key.help + where, max(10, width - 14 - len(command)))):
                    lines.append(
                        [(f"  {'' if i else name:<10}  ", "key"), (text, "text"), ("" if i else command, "dim")]
                    )
            lines.append(())
        lines.append([("Commands", "title"), ("  typed after  :  · help COMMAND says more", "dim")])
        for verb in COMMANDS:
            told = verb.help + (" (asks first)" if verb.destructive else "")
            for i, text in enumerate(wrap(told, max(10, width - 18))):
                lines.append([(f"  {verb.name if i == 0 else '':<14}  ", "accent"), (text, "text")])
        return lines


class TextPage(Page):
    """What a command answered, as it stands; long lines are wrapped."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "answer")
        self.answer = ""

    def body(self, width: int) -> list[Line]:
        lines: list[Line] = []
        for line in self.answer.splitlines():
            shown = clean(line.expandtabs(4)).rstrip()
            lines += [[(part, "text")] for part in wrap(shown, width)] if len(shown) > width else [[(shown, "text")]]
        return lines
