"""The command language: parsing, completion, selection; nothing is carried out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import UsageError
from kehefl.server.commands import COMMANDS, complete, describe, parse, select_devices

STATES = {"pi-01": "ready", "pi-02": "lost", "pi-03": "training", "home-1": "lost"}


def known(kind: str) -> list[str]:
    return sorted(STATES) if kind == "devices" else []


@pytest.mark.parametrize(
    ("line", "name", "targets", "options"),
    [
        ("run start federated rounds=20 epochs=3", "run start", ("federated",), {"rounds": "20", "local_epochs": "3"}),
        ("round set deadline=30s quorum=0.8", "round set", (), {"deadline": "30s", "quorum": "0.8"}),
        ("device evict @lost pi-*", "device evict", ("@lost", "pi-*"), {}),
        ("export csv 'my file.csv'", "export", ("csv", "my file.csv"), {}),
        ("filter state=lost", "filter", ("state=lost",), {}),
        ("  q ", "quit", (), {}),
        ("help run start", "help", ("run", "start"), {}),
    ],
)
def test_a_line_is_parsed(line: str, name: str, targets: tuple[str, ...], options: dict[str, str]) -> None:
    command = parse(line)
    assert (command.verb.name, command.targets, command.options) == (name, targets, options)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "Nothing was typed"),
        ("rnu start", "Did you mean 'run start'"),
        ("run strat federated", "Did you mean 'start'"),
        ("run", "needs a verb: start, pause, resume, abort, show"),
        ("run start", "needs a scenario"),
        ("run start federatd", "Did you mean 'federated'"),
        ("run start federated ruonds=3", "Did you mean 'rounds'"),
        ("run start federated rounds=", "'rounds=' needs a value"),
        ("run pause now", "does not take 'now'"),
        ("run pause x=1", "has no setting 'x'. It takes none"),
        ("export xml", "no export format 'xml'"),
        ("export 'csv", "quotes"),
        ("device ping", "needs a device"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest(line: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(line)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_sentence(line: str) -> None:
    try:
        parse(line)
    except UsageError as error:
        assert str(error)[-1] in ".\"'" or "." in str(error)
    complete(line, known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("ru", ["run", "runs"]),
        ("run ", ["run start", "run pause", "run resume", "run abort", "run show"]),
        ("run start f", ["run start federated"]),
        ("run start federated ro", ["run start federated rounds="]),
        ("device ping pi-0", ["device ping pi-01", "device ping pi-02", "device ping pi-03"]),
        ("device ping pi-01 @l", ["device ping pi-01 @lost"]),
        ("round set d", ["round set deadline="]),
        ("nothing ", []),
    ],
)
def test_the_last_word_is_completed(line: str, candidates: list[str]) -> None:
    assert complete(line, known) == candidates  # type: ignore[arg-type]


def test_devices_are_selected_by_id_glob_and_set() -> None:
    assert select_devices(["pi-*"], STATES) == ["pi-01", "pi-02", "pi-03"]
    assert select_devices(["@lost"], STATES) == ["home-1", "pi-02"]
    assert select_devices(["@marked", "pi-01"], STATES, marked=["home-1", "gone"]) == ["home-1", "pi-01"]
    with pytest.raises(UsageError, match="Did you mean 'home-1'"):
        select_devices(["hmoe-1"], STATES)


def test_every_command_has_help_and_an_example_that_parses() -> None:
    for verb in COMMANDS:
        assert verb.name in describe(verb.name)
        if verb.example:
            assert parse(verb.example).verb is verb
