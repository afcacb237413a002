"""The command language: one table of verbs for the console's bar, its keys and help, `kehefl ctl` and scripts.

Grammar: `noun [verb] [target ...] [key=value ...]`. Parsing and completion are pure; nothing here runs a command.
"""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

from kehefl.errors import UsageError, nearest
from kehefl.federation.settings import ALIASES, setting_names

Kind = Literal["scenario", "devices", "run", "column", "format", "command", "filter", "path", "text", "theme"]


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `where` is who carries it out: the server core, or a face for itself."""

    words: tuple[str, ...]
    help: str
    targets: tuple[Kind, ...] = ()
    required: int = 0
    keys: tuple[str, ...] = ()
    destructive: bool = False
    where: Literal["core", "face"] = "core"
    example: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.words)


ROUND_KEYS: Final = ("deadline", "quorum")

COMMANDS: Final[tuple[Verb, ...]] = (
    Verb(
        words=("run", "start"),
        help="start a run in a scenario; settings as key=value",
        targets=("scenario",),
        required=1,
        keys=setting_names(),
        example="run start federated rounds=20 epochs=3",
    ),
    Verb(words=("run", "pause"), help="let the open round finish, open no further one; its deadline stands still"),
    Verb(
        words=("run", "resume"), help="go on with a paused run, or with an interrupted one by its id", targets=("run",)
    ),
    Verb(words=("run", "abort"), help="end the run now; updates of the open round are lost", destructive=True),
    Verb(words=("run", "show"), help="the state of the run"),
    Verb(
        words=("round", "set"),
        help="change deadline or quorum of the run, at once",
        keys=ROUND_KEYS,
        example="round set deadline=30s quorum=0.8",
    ),
    Verb(
        words=("device", "show"),
        help="what is known of devices",
        targets=("devices",),
        required=1,
        example="device show pi-03",
    ),
    Verb(words=("device", "ping"), help="ask devices to answer now", targets=("devices",), required=1),
    Verb(
        words=("device", "drain"),
        help="ask no further rounds of devices; the open one may finish",
        targets=("devices",),
        required=1,
    ),
    Verb(
        words=("device", "readmit"), help="take drained or evicted devices in again", targets=("devices",), required=1
    ),
    Verb(
        words=("device", "evict"),
        help="forget devices and ignore what they send, until readmitted",
        targets=("devices",),
        required=1,
        destructive=True,
        example="device evict @lost",
    ),
    Verb(
        words=("export",),
        help="write a run's record to a file and print its path",
        targets=("format", "path"),
        required=1,
        keys=("run",),
        example="export csv results.csv",
    ),
    Verb(words=("runs",), help="the recorded runs, newest first"),
    Verb(words=("help",), help="what a command does", targets=("command",), where="face"),
    Verb(
        words=("filter",),
        help="show only devices that match",
        targets=("filter",),
        where="face",
        example="filter state=lost",
    ),
    Verb(
        words=("sort",),
        help="order the device table",
        targets=("column", "text"),
        where="face",
        example="sort loss desc",
    ),
    Verb(words=("set",), help="set the console", keys=("theme", "refresh"), where="face", example="set theme=light"),
    Verb(words=("quit",), help="leave the console", where="face"),
)

#: Spellings that operators bring from elsewhere.
SHORTHANDS: Final[Mapping[str, str]] = {"q": "quit", "q!": "quit", "exit": "quit", "h": "help", "?": "help"}

EXPORT_FORMATS: Final = ("csv", "jsonl", "parquet")
SCENARIO_WORDS: Final = ("federated", "centralized", "local")
DEVICE_SETS: Final = ("@all", "@lost", "@ready", "@marked")


class Command(msgspec.Struct, frozen=True):
    """A parsed line."""

    verb: Verb
    targets: tuple[str, ...]
    options: Mapping[str, str]
    line: str


def parse(line: str) -> Command:
    """Parse one line. Raises UsageError naming the nearest command, the missing target or the unknown key."""
    try:
        words = shlex.split(line)
    except ValueError:
        raise UsageError(f"The quotes in '{line}' are not closed. Close them.") from None
    if not words or not words[0].strip():
        raise UsageError("Nothing was typed. Try: help")
    words = [*SHORTHANDS.get(words[0], words[0]).split(), *words[1:]]
    verb = _find(words)
    targets: list[str] = []
    options: dict[str, str] = {}
    for word in words[len(verb.words) :]:
        key, separator, value = word.partition("=")
        # `filter` takes expressions such as state=lost as they are.
        if separator and "filter" not in verb.targets:
            options[_check_key(verb, key, value)] = value
        else:
            targets.append(word)
    if len(targets) < verb.required:
        raise UsageError(f"'{verb.name}' needs a {_singular(verb.targets[len(targets)])}.{_example(verb)}")
    unlimited = verb.targets[-1:] in {("devices",), ("filter",), ("command",)}
    if len(targets) > len(verb.targets) and not unlimited:
        raise UsageError(f"'{verb.name}' does not take '{targets[len(verb.targets)]}'.{_example(verb)}")
    if "scenario" in verb.targets and targets[0] not in SCENARIO_WORDS:
        raise UsageError(f"There is no scenario '{targets[0]}'. {nearest(targets[0], SCENARIO_WORDS)}")
    if "format" in verb.targets and targets[0] not in EXPORT_FORMATS:
        raise UsageError(f"There is no export format '{targets[0]}'. {nearest(targets[0], EXPORT_FORMATS)}")
    return Command(verb, tuple(targets), options, line.strip())


def complete(line: str, known: Callable[[Kind], Collection[str]]) -> list[str]:
    """Whole lines that `line` may become by completing its last word, in the order of the table.

    `known` gives the present devices, runs and columns by kind.
    """
    ends_open = line[-1:].isspace() or not line
    words = line.split()
    partial = "" if ends_open else words.pop()
    stem = line[: len(line) - len(partial)]
    return [stem + candidate for candidate in _candidates(words, partial, known) if candidate.startswith(partial)]


def select_devices(
    patterns: Sequence[str],
    states: Mapping[str, str],
    marked: Collection[str] = (),
) -> list[str]:
    """Device ids (sorted) that `patterns` name: ids, globs, `@all`, `@lost`, `@ready`, `@marked`.

    `states` maps every known device to its state. Raises UsageError for a pattern that names no device.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == "@all":
            found = set(states)
        elif pattern == "@marked":
            found = {device for device in marked if device in states}
        elif pattern.startswith("@"):
            found = {device for device, state in states.items() if state == pattern[1:]}
        else:
            found = set(fnmatch.filter(states, pattern))
        if not found:
            hint = "" if pattern.startswith("@") or "*" in pattern else " " + nearest(pattern, states)
            raise UsageError(f"No device matches '{pattern}'.{hint.rstrip()}")
        chosen |= found
    return sorted(chosen)


def describe(name: str = "") -> str:
    """Help of one command, or the list of all."""
    if not name:
        width = max(len(verb.name) for verb in COMMANDS)
        return "\n".join(f"{verb.name:<{width}}  {verb.help}" for verb in COMMANDS)
    verb = _find(name.split())
    lines = [f"{verb.name}: {verb.help}{' (asks before it acts)' if verb.destructive else ''}"]
    if verb.keys:
        lines.append("keys: " + ", ".join(verb.keys))
    if verb.example:
        lines.append("for example: " + verb.example)
    return "\n".join(lines)


def _find(words: Sequence[str]) -> Verb:
    for verb in COMMANDS:
        if tuple(words[: len(verb.words)]) == verb.words:
            return verb
    nouns = {verb.words[0] for verb in COMMANDS}
    if words[0] in nouns:
        verbs = [verb.words[1] for verb in COMMANDS if verb.words[0] == words[0] and len(verb.words) > 1]
        given = words[1] if len(words) > 1 else ""
        if not given:
            raise UsageError(f"'{words[0]}' needs a verb: {', '.join(verbs)}.")
        raise UsageError(f"'{words[0]}' cannot '{given}'. {nearest(given, verbs)}")
    names = [verb.name for verb in COMMANDS]
    raise UsageError(f"There is no command '{words[0]}'. {nearest(' '.join(words[:2]), names)}")


def _check_key(verb: Verb, given: str, value: str) -> str:
    key = ALIASES.get(given, given)
    if key not in verb.keys:
        known = f" {nearest(given, verb.keys)}" if verb.keys else " It takes none."
        raise UsageError(f"'{verb.name}' has no setting '{given}'.{known}")
    if not value:
        raise UsageError(f"'{given}=' needs a value.{_example(verb)}")
    return key


def _candidates(words: Sequence[str], partial: str, known: Callable[[Kind], Collection[str]]) -> list[str]:
    verb = next((v for v in COMMANDS if tuple(words[: len(v.words)]) == v.words), None)
    if verb is None:
        depth = len(words)
        nexts = [v.words[depth] for v in COMMANDS if len(v.words) > depth and list(v.words[:depth]) == list(words)]
        return list(dict.fromkeys(nexts))
    given = words[len(verb.words) :]
    targets = [word for word in given if "=" not in word]
    found: list[str] = []
    if verb.targets:
        kind = verb.targets[min(len(targets), len(verb.targets) - 1)]
        if len(targets) < len(verb.targets) or kind in {"devices", "filter"}:
            found += _known_targets(kind, known)
    if "=" in partial:
        return found
    used = {word.partition("=")[0] for word in given if "=" in word}
    return found + [f"{key}=" for key in verb.keys if key not in used]


def _known_targets(kind: Kind, known: Callable[[Kind], Collection[str]]) -> list[str]:
    match kind:
        case "scenario":
            return list(SCENARIO_WORDS)
        case "format":
            return list(EXPORT_FORMATS)
        case "command":
            return [verb.name for verb in COMMANDS]
        case "devices":
            return [*sorted(known(kind)), *DEVICE_SETS]
        case _:
            return sorted(known(kind))


def _singular(kind: Kind) -> str:
    return {"devices": "device (an id, a glob, @lost, @marked)", "command": "command"}.get(kind, kind)


def _example(verb: Verb) -> str:
    return f" For example: {verb.example}" if verb.example else ""
