"""What a line may become: the command table's completion, with the names that only the console knows."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kehefl.server.commands import Kind, complete
from kehefl.tui import view
from kehefl.tui.desk import Desk
from kehefl.tui.palette import THEMES

STATES = ("ready", "training", "uploading", "leaving", "lost", "drained", "evicted")


def known(desk: Desk) -> Callable[[Kind], Collection[str]]:
    """Names by kind: columns, filters and themes are the console's own, all else is the core's."""

    def names(kind: Kind) -> Collection[str]:
        match kind:
            case "column":
                return tuple(view.SORTS)
            case "text":
                return ("asc", "desc")
            case "filter":
                return tuple(f"state={state}" for state in STATES)
            case "theme":
                return THEMES
            case "path":
                return ()
            case _:
                return desk.known(kind)

    return names


def candidates(line: str, desk: Desk) -> list[str]:
    """Whole lines, best first. After `set theme=` the themes."""
    if line.endswith("theme=") or " theme=" in line:
        stem, _, begun = line.rpartition("theme=")
        return [f"{stem}theme={theme}" for theme in THEMES if theme.startswith(begun)]
    return complete(line, known(desk))


def ghost(line: str, desk: Desk) -> str:
    """What would be added to `line` by taking the first candidate; nothing for an empty line."""
    if not line.strip():
        return ""
    first = next((candidate for candidate in candidates(line, desk) if candidate != line), "")
    return first[len(line) :]
