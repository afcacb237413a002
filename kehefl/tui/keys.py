"""The keys, as data: this one table feeds dispatch, the footer's hints and the help screen.

A key that does something to the world or to the console's settings names the command it stands for, so that whoever
learns a key learns the command; keys that only move about have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Where a key means something. `main` is the five panes, `view` a page over them, `any` both.
PANES: Final = ("devices", "rounds", "metrics", "events", "run")


@dataclass(frozen=True, slots=True)
class Key:
    """`names` as Textual reports them, `shown` as people write them, `action` a method `do_<action>`."""

    names: tuple[str, ...]
    shown: str
    action: str
    help: str
    where: tuple[str, ...] = ("any",)
    hint: str = ""
    command: str = ""
    group: str = "Move"
    argument: str = ""

    def label(self, *, ascii_only: bool) -> str:
        """The key as it is written where only ASCII can be drawn."""
        if not ascii_only:
            return self.shown
        return self.shown.replace("↵", "Enter").replace("⇧", "Shift+").replace("↓", "Down").replace("↑", "Up")


KEYS: Final[tuple[Key, ...]] = (
    Key(("colon",), ":", "bar", "type a command; Tab completes, ↑ ↓ recall", hint="cmd", group="Command"),
    Key(("slash",), "/", "filter", "filter the devices as you type", ("any",), "filter", "filter", "Command"),
    Key(("enter",), "↵", "detail", "all that is known of the device", ("devices",), "detail", "device show", "Look"),
    Key(("enter",), "↵", "round", "the round, device by device", ("rounds",), "detail", "run show", "Look"),
    Key(("s",), "s", "start", "start a run with the usual settings", hint="start", command="run start", group="Run"),
    Key(("S",), "S", "start_with", "start a run with other settings: fills the command in, Enter sends it",
        command="run start", group="Run"),
    Key(("p",), "p", "pause", "pause the run, or resume it", hint="pause", command="run pause", group="Run"),
    Key(("x",), "x", "abort", "abort the run; asks first", hint="abort", command="run abort", group="Run"),
    Key(("space",), "space", "mark", "mark the device: @marked in commands", ("devices",), "mark", group="Look"),
    Key(("o",), "o", "sort", "order by the next column", ("devices",), "sort", "sort", "Look"),
    Key(("O",), "O", "sort_back", "turn the order round", ("devices",), command="sort", group="Look"),
    Key(("z",), "z", "zoom", "give the pane the whole screen, and back", ("main",), "zoom", group="Look"),
    Key(("y",), "y", "copy", "copy what the cursor is on (OSC 52)", hint="copy", group="Look"),
    Key(("t",), "t", "theme", "dark or light", command="set", group="Look"),
    Key(("j", "down"), "j ↓", "down", "one line down"),
    Key(("k", "up"), "k ↑", "up", "one line up"),
    Key(("g", "home"), "g Home", "first", "to the top"),
    Key(("G", "end"), "G End", "last", "to the bottom, and follow it"),
    Key(("pagedown",), "PgDn", "page_down", "one page down"),
    Key(("pageup",), "PgUp", "page_up", "one page up"),
    Key(("tab",), "Tab", "next_pane", "next pane", ("main",), "pane"),
    Key(("shift+tab",), "⇧Tab", "previous_pane", "previous pane", ("main",)),
    *(
        Key((str(number),), str(number), "pane", f"to the pane {name}", ("main",), argument=name)
        for number, name in enumerate(PANES, 1)
    ),
    Key(("escape",), "Esc", "back", "one level back", hint="back"),
    Key(("question_mark",), "?", "help", "this page", hint="help", command="help", group="Command"),
    Key(("q",), "q", "quit", "leave the console", hint="quit", command="quit", group="Command"),
    Key(("ctrl+c",), "^C", "interrupt", "stops nothing; says what does", group="Command"),
)  # fmt: skip

#: Where the hints of the footer stand when there is not room for all: the first ones stay.
HINT_ORDER: Final = (
    *("back", "cmd", "filter", "detail", "start", "pause", "abort"),
    *("help", "quit", "copy", "mark", "sort", "zoom", "pane"),
)


def names() -> tuple[str, ...]:
    """Every key that means something somewhere."""
    return tuple(dict.fromkeys(name for key in KEYS for name in key.names))


def find(name: str, contexts: Sequence[str]) -> Key | None:
    """What the key means where the operator is; `contexts` from the nearest to the widest."""
    for context in contexts:
        for key in KEYS:
            if name in key.names and context in key.where:
                return key
    return None


def hints(contexts: Sequence[str], *, can_go_back: bool, paused: bool, running: bool) -> list[Key]:
    """Keys to name in the footer, most useful first."""
    found: list[Key] = []
    for hint in HINT_ORDER:
        key = next((k for c in contexts for k in KEYS if k.hint == hint and c in k.where), None)
        if key is None or (hint == "back" and not can_go_back):
            continue
        if (hint in {"pause", "abort"} and not (running or paused)) or (hint == "start" and (running or paused)):
            continue
        found.append(key)
    return found


def by_group() -> Iterable[tuple[str, list[Key]]]:
    """The help screen's order; the five pane keys are told as one."""
    for group in ("Command", "Run", "Look", "Move"):
        keys = [key for key in KEYS if key.group == group and key.action != "pane"]
        if group == "Move":
            shown = ", ".join(f"{i} {name}" for i, name in enumerate(PANES, 1))
            keys.append(Key((), f"1-{len(PANES)}", "pane", f"to a pane: {shown}"))
        yield group, keys
