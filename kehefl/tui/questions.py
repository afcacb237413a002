"""What is asked before a destructive command: the target by name, and what will be gone. Pure."""

from __future__ import annotations

import shlex
from typing import Final

from kehefl.server.commands import Command, select_devices
from kehefl.tui.desk import Desk
from kehefl.tui.panes.confirm import Question

#: Names told one by one; of more, the first ones and a number.
NAMED: Final = 6
#: Commands that change nothing in the federation. All others are refused by `--read-only`.
HARMLESS: Final = frozenset({"run show", "device show", "runs", "export", "help", "filter", "sort", "set", "quit"})


def about(command: Command, desk: Desk) -> Question:
    """The question for a command. Raises UsageError when its target names no device."""
    if "devices" in command.verb.targets:
        return _about_devices(command, desk)
    if command.verb.name == "run abort":
        return _about_run(command, desk)
    return Question(f"{command.verb.name}?", (command.verb.help + ".",), _capital(command.verb.words[-1]), command.line)


def _about_run(command: Command, desk: Desk) -> Question:
    return Question(
        "Abort the run?", _run_sentences(desk), "Abort run", command.line, fresh=lambda: _run_sentences(desk)
    )


def _run_sentences(desk: Desk) -> tuple[str, ...]:
    run, current = desk.store.run, desk.store.round
    if run is None or not run.is_open:
        return ("No run is open, as far as is known.",)
    sentences = [f"Run {run.name} ({run.scenario}) ends now, after {run.completed} of {run.rounds} rounds."]
    if current is not None and current.closed_at is None:
        sentences.append(
            f"Round {current.number} is open: the {current.responded} answers of {current.cohort} devices "
            "that came so far are lost."
        )
    return (*sentences, "The model of the last closed round is kept.")


def _about_devices(command: Command, desk: Desk) -> Question:
    chosen = select_devices(command.targets, desk.states(), desk.marked)
    word = command.verb.words[-1]
    names = ", ".join(chosen[:NAMED]) + (f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else "")
    what = f"{_capital(word)} {names}." if len(chosen) == 1 else f"{_capital(word)} {len(chosen)} devices: {names}."
    current = desk.store.round
    sentences = [what, _capital(command.verb.help) + "."]
    if current is not None and current.closed_at is None:
        working = [n for n in chosen if n in current.answers and current.answers[n].answer == "asked"]
        if working:
            sentences.append(
                f"{len(working)} of them {'is' if len(working) == 1 else 'are'} at work in the open round."
            )
    count = len(chosen) if len(chosen) > 1 else None
    yes = f"{_capital(word)} {len(chosen)} devices" if count else f"{_capital(word)} device"
    # The devices by name: what was confirmed is what is done, whoever joins @lost meanwhile.
    line = shlex.join([*command.verb.words, *chosen])
    return Question(f"{_capital(command.verb.name)}?", tuple(sentences), yes, line, count)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
