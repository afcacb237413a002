"""The device table: which columns, which rows, in which order; keys, lines and questions as data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from kehefl.errors import UsageError
from kehefl.server.commands import parse
from kehefl.tui import completion, keys, pictures, questions, view
from kehefl.tui.columns import COLUMNS, GAP, fit_columns, header, row
from kehefl.tui.desk import Desk
from kehefl.tui.edit import LineEdit, Recall
from kehefl.tui.history import History
from tests.unit.tui.fake import play
from tests.unit.tui.stage import HOSTILE


@given(st.integers(30, 300), st.lists(st.sampled_from([*HOSTILE, "pi-01", "home-0007"]), max_size=5))
def test_columns_fit_and_the_least_important_go_first(cells: int, names: list[str]) -> None:
    fitted = fit_columns(cells, names)
    assert sum(size for _, size in fitted) + GAP * (len(fitted) - 1) <= cells
    kept = {column.name for column, _ in fitted}
    worst = max(column.rank for column, _ in fitted)
    assert {column.name for column in COLUMNS if column.rank < worst} <= kept


def test_at_80_columns_the_table_is_the_one_of_the_design() -> None:
    heads = [column.head for column, _ in fit_columns(76, ["pi-0000"])]
    assert heads == ["device", "state", "rnd", "progress", "loss", "R2", "seen", "cpu", "mem"]


@pytest.mark.parametrize("cells", [40, 76, 116, 156, 220])
def test_no_value_is_cut_in_any_column(cells: int) -> None:
    core, clock = play(devices=30)
    device = core.store.devices["pi-07"]
    fitted = fit_columns(cells, core.store.devices)
    line = row(device, fitted, clock.at, is_marked=False)
    assert cell_len("".join(text for text, _ in line)) == cell_len("".join(text for text, _ in header(fitted, "")))
    for column, size in fitted:
        assert cell_len(column.cell(device, clock.at)[0]) <= size, column.name


def test_order_puts_what_has_no_value_last_both_ways() -> None:
    core, _ = play(devices=4)
    core.store.devices["pi-02"].loss = None
    for descending in (False, True):
        found = view.arrange(core.store.devices.values(), "", "loss", descending=descending)
        assert found[-1].name == "pi-02"


@pytest.mark.parametrize(
    ("expression", "found"),
    [("", 8), ("pi-0", 8), ("03", 1), ("pi-0[12]", 2), ("state=training", 4), ("state=tr", 4), ("!state=training", 4),
     ("state=training pi-05", 1), ("nothing", 0), ("board=*Pi*", 8), ("PI-03", 1), ("!", 0)],
)  # fmt: skip
def test_filters(expression: str, found: int) -> None:
    core, _ = play(devices=8)
    assert len(view.arrange(core.store.devices.values(), expression, "device", descending=False)) == found


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'loss'"):
        view.check_column("los")


def test_no_key_means_two_things_in_one_place() -> None:
    seen: set[tuple[str, str]] = set()
    for key in keys.KEYS:
        for name in key.names:
            for where in key.where:
                assert (name, where) not in seen
                seen.add((name, where))


def test_every_key_that_acts_stands_for_a_command() -> None:
    examples = {"device show": "device show pi-01", "run start": "run start federated", "sort": "sort loss"}
    for key in keys.KEYS:
        if key.group in {"Run"} or key.command:
            assert parse(examples.get(key.command, key.command)).verb.name == key.command


def test_no_key_needs_what_multiplexers_and_terminals_keep() -> None:
    assert not {"ctrl+b", "ctrl+a", "ctrl+s", "ctrl+q"} & set(keys.names())
    assert not [name for name in keys.names() if name.startswith("alt+")]


def test_every_key_has_its_method() -> None:
    from kehefl.tui.actions import Actions

    assert not [key.action for key in keys.KEYS if not hasattr(Actions, f"do_{key.action}")]


def test_completion_knows_devices_columns_and_themes() -> None:
    core, _ = play(devices=3)
    desk = Desk(store=core.store, known=core.known)
    assert "device ping pi-02" in completion.candidates("device ping pi", desk)
    assert completion.candidates("sort lo", desk) == ["sort loss"]
    assert completion.candidates("set theme=l", desk) == ["set theme=light"]
    assert completion.ghost("run ab", desk) == "ort"
    assert completion.ghost("", desk) == ""


def test_the_question_names_target_consequence_and_count() -> None:
    core, _ = play(devices=8)
    desk = Desk(store=core.store)
    one = questions.about(parse("device evict pi-05"), desk)
    assert "pi-05" in one.sentences[0]
    assert one.count is None
    assert "at work in the open round" in one.sentences[-1]
    all_of_them = questions.about(parse("device evict @all"), desk)
    assert all_of_them.count == 8
    assert "and 2 more" in all_of_them.sentences[0]
    abort = questions.about(parse("run abort"), desk)
    assert "run-0003" in abort.sentences[0]
    assert "4 answers of 8 devices" in abort.sentences[1]
    with pytest.raises(UsageError, match="No device matches"):
        questions.about(parse("device evict @lost"), desk)


def test_a_long_command_breaks_into_lines_a_shell_takes_whole() -> None:
    command = "kehefl-device pi-01 --broker mqtts://broker.example.org:8883 --dataset homes --client 1"
    parts = pictures.broken(command, 60)
    assert len(parts) > 1
    assert all(len(part) <= 60 for part in parts)
    assert " ".join(part.removesuffix(" \\").strip() for part in parts) == command


def test_the_line_takes_the_keys_of_a_shell() -> None:
    edit = LineEdit()
    for char in "run abort":
        edit.take(char, char)
    edit.take("ctrl+w", None)
    assert edit.text == "run "
    edit.take("ctrl+a", None)
    edit.take("x", "x")
    assert (edit.text, edit.at) == ("xrun ", 1)
    edit.take("ctrl+k", None)
    edit.take("backspace", "\x7f")
    assert (edit.text, edit.at) == ("", 0)
    assert not edit.take("f5", None)


@given(
    st.lists(
        st.sampled_from(["a", "left", "right", "home", "end", "backspace", "delete", "ctrl+w", "ctrl+u", "ctrl+left"])
    )
)
def test_the_cursor_stays_in_the_line(pressed: list[str]) -> None:
    edit = LineEdit()
    for key in pressed:
        edit.take(key, key if len(key) == 1 else None)
        assert 0 <= edit.at <= len(edit.text)


def test_recall_offers_only_what_begins_alike_and_gives_back_what_was_begun() -> None:
    recall = Recall(["runs", "device ping a", "run pause"])
    assert recall.older("run") == "run pause"
    assert recall.older("run pause") == "runs"
    assert recall.older("runs") == "runs"
    assert recall.newer("runs") == "run pause"
    assert recall.newer("run pause") == "run"


def test_history_that_cannot_be_kept_is_told_and_still_works(tmp_path) -> None:  # type: ignore[no-untyped-def]
    blocked = tmp_path / "file"
    blocked.write_text("")
    history = History(blocked / "history")
    history.add("runs")
    assert history.lines == ["runs"]
    assert "history" in history.problem
