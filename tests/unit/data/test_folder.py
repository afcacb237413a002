"""A folder of CSV files: what is read, what is skipped and told, what is refused."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kehefl.data.folder import MAX_LINE_BYTES, open_folder
from kehefl.data.shard import Shard
from kehefl.errors import DataError, KeheflError, UsageError

HEADER = "timestamp,co2,temperature,humidity\r\n"


def opened(folder: Path, *features: str, target: str = "temperature") -> Shard:
    return open_folder(folder, features or ("co2", "humidity"), target)


def rows_of(shard: Shard) -> list[list[float]]:
    x, y = np.vstack([shard.x_train, shard.x_test]), np.concatenate([shard.y_train, shard.y_test])
    return np.column_stack([x, y]).tolist()


def write(folder: Path, content: str | bytes, name: str = "2026-01-02.csv") -> None:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def test_daily_files_of_kehe_fl_are_read_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "2026-01-03 00:00:00,620,21.5,42\r\n", "2026-01-03.csv")
    write(tmp_path, HEADER + "2026-01-02 23:59:56,600.5,21.25,40.5\r\n2026-01-02 23:59:58,610,21.0,41\r\n")
    shard = opened(tmp_path)
    assert rows_of(shard) == [[600.5, 40.5, 21.25], [610.0, 41.0, 21.0], [620.0, 42.0, 21.5]]
    assert (shard.features, shard.target, shard.source, shard.simulated) == (
        ("co2", "humidity"),
        "temperature",
        "csv",
        False,
    )
    assert (shard.name, shard.notes) == (tmp_path.name, ())
    assert shard.y_test.tolist() == [21.5]


@pytest.mark.parametrize(
    "text",
    [
        "co2;humidity;temperature\n1;2;3\n4;5;6\n",
        "\ufeffco2,humidity,temperature\r\n1,2,3\r\n4,5,6\r\n",
        " CO2 , Humidity,TEMPERATURE\n 1 , 2,3 \n+4.0,5e0,.6e1\n",
        '"co2","humidity","temperature"\n"1","2","3"\n4,5,6\n',
        "\nco2,humidity,temperature\n\n1,2,3\n\n4,5,6\n\n",
        "co2,humidity,temperature,\n1,2,3,\n4,5,6,\n",
        "co2,humidity,temperature\n1,2,3,,\n4,5,6,\n",
    ],
)
def test_delimiters_marks_spaces_cases_and_quotes_do_not_matter(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    shard = opened(tmp_path)
    assert rows_of(shard) == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert shard.notes == ()


def test_a_name_matches_whatever_its_spaces(tmp_path: Path) -> None:
    write(tmp_path, "Air Temp,y\n1,2\n3,4\n")
    assert open_folder(tmp_path, ("airtemp",), "Y").features == ("airtemp",)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("t,1,,3", "'temperature' is empty"),
        ("t,1,  ,3", "'temperature' is empty"),
        ("t,1,warm,3", "'temperature' is not a number"),
        ("t,1,1_000,3", "'temperature' is not a number"),
        ("t,1,0x10,3", "'temperature' is not a number"),
        ("t,1,\u0663,3", "'temperature' is not a number"),
        ("t,nan,2,3", "'co2' is not finite"),
        ("t,1,2,-Infinity", "'humidity' is not finite"),
        ("t,1e39,2,3", "'co2' is too large"),
        ("t,1,2", "too few fields"),
        ("t,1,2,32026-01-02 10:00:05,1,2,3", "too many fields"),
        ("t,1,2,3(torn)", "the row is torn"),
        ("t,1,2," + "3" * MAX_LINE_BYTES, "the line is too long"),
    ],
)
def test_a_row_that_cannot_be_used_is_skipped_and_told(tmp_path: Path, row: str, why: str) -> None:
    write(tmp_path, f"{HEADER}t,1,2,3\n{row}\nt,4,5,6\n")
    shard = opened(tmp_path)
    assert rows_of(shard) == [[1.0, 3.0, 2.0], [4.0, 6.0, 5.0]]
    assert shard.notes == (f"1 row skipped: 2026-01-02.csv line 3: {why}",)


def test_the_row_after_one_that_is_too_long_has_its_own_line_number(tmp_path: Path) -> None:
    long = "9" * (3 * MAX_LINE_BYTES + 5)
    write(tmp_path, f"co2,temperature\n1,2\n{long}\n,3\n4,5\n")
    shard = opened(tmp_path, "co2")
    assert any("line 4: 'co2' is empty" in note for note in shard.notes)


def test_a_decimal_comma_is_named(tmp_path: Path) -> None:
    write(tmp_path, "co2;temperature\n1,5;2,5\n1,5;2,5\n")
    with pytest.raises(DataError, match="decimal comma"):
        opened(tmp_path, "co2")


def test_a_last_row_without_its_end_is_torn(tmp_path: Path) -> None:
    # "4" may be what a power cut left of "45.2".
    write(tmp_path, HEADER + "t,1,2,3\nt,4,5,6\nt,600,21,4")
    shard = opened(tmp_path)
    assert len(rows_of(shard)) == 2
    assert shard.notes == ("1 row skipped: 2026-01-02.csv line 4: the row is torn",)


def test_many_faults_are_counted_and_the_first_of_each_kind_named(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "t,,2,3\n" * 5 + "t,1,x,3\n" + "t,1,2,3\n" * 2)
    assert opened(tmp_path).notes == (
        "5 rows skipped: 2026-01-02.csv line 2, 2026-01-02.csv line 3, 2026-01-02.csv line 4 and 2 more: "
        "'co2' is empty",
        "1 row skipped: 2026-01-02.csv line 7: 'temperature' is not a number",
    )


def test_notes_hold_no_values_since_they_are_sent(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "t,1,secret,3\n" + "t,1,2,3\n" * 2)
    assert "secret" not in "".join(opened(tmp_path).notes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\r\n\n", "it is empty"),
        (b"timestamp,co2,temp", "its header is torn"),
        (b"2026-01-01 00:00:00,500,21,40\n", "it has no header"),
        (b"a,b\n1,2\n", "it has no column 'co2'"),
        (b"\x7fELF\0\0\0\n\0", "it is not UTF-8 text"),
        ("co2,temperature\n1,2\n".encode("utf-16"), "it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_the_others_are_used(tmp_path: Path, content: bytes, why: str) -> None:
    write(tmp_path, content, "a.csv")
    write(tmp_path, HEADER + "t,1,2,3\nt,4,5,6\n", "b.csv")
    shard = opened(tmp_path)
    assert len(rows_of(shard)) == 2
    assert len(shard.notes) == 1
    assert shard.notes[0].startswith(f"a.csv skipped: {why}")
    (tmp_path / "b.csv").unlink()
    with pytest.raises((DataError, UsageError)):
        opened(tmp_path)


def test_a_column_that_no_file_has_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "t,1,2,3\n")
    with pytest.raises(UsageError, match=r"No file .* 'humidty'.*Did you mean 'humidity'"):
        opened(tmp_path, "humidty")


def test_a_folder_with_the_columns_in_a_file_without_rows_lacks_rows_not_columns(tmp_path: Path) -> None:
    # The recording has just begun beside an older file of another sensor: it will have rows.
    write(tmp_path, "x,y\n1,2\n", "a.csv")
    write(tmp_path, HEADER, "b.csv")
    with pytest.raises(DataError, match="0 usable rows"):
        opened(tmp_path)


def test_columns_that_are_only_in_different_files_make_no_rows(tmp_path: Path) -> None:
    write(tmp_path, "co2,x\n1,2\n", "a.csv")
    write(tmp_path, "y,temperature\n1,2\n", "b.csv")
    with pytest.raises(DataError, match=r"a\.csv skipped: it has no column 'temperature'"):
        opened(tmp_path, "co2")


@pytest.mark.parametrize(
    ("features", "target", "sentence"),
    [
        ((), "temperature", "Name the columns"),
        (("co2",), None, "Name the columns"),
        (("co2", "CO2"), "temperature", "named twice"),
        (("co2", "Temperature"), "temperature", "both feature and target"),
        (("", "co2"), "temperature", "without a name"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(
    tmp_path: Path, features: tuple[str, ...], target: str | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_folder(tmp_path, features, target)


def test_what_is_not_a_recording_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "t,1,2,3\nt,4,5,6\n", "DAY.CSV")
    write(tmp_path, b"\0\5\x16\7", "._DAY.CSV")
    write(tmp_path, "x", "notes.txt")
    (tmp_path / "old.csv").mkdir()
    assert opened(tmp_path).notes == ()


@pytest.mark.parametrize("rows", ["", "t,1,2,3\n", "t,,2,3\nt,,2,3\n"])
def test_fewer_than_two_usable_rows_are_refused(tmp_path: Path, rows: str) -> None:
    write(tmp_path, HEADER + rows)
    with pytest.raises(DataError, match="at least 2 are needed"):
        opened(tmp_path)


def test_no_folder_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no \.csv file"):
        opened(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error_since_it_can_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, HEADER + "t,1,2,3\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"2026-01-02\.csv cannot be read: Permission denied"):
        opened(tmp_path)


def test_a_name_that_is_no_text_can_still_be_sent(tmp_path: Path) -> None:
    folder = tmp_path / "a\udcff\x1b"
    folder.mkdir()
    write(folder, HEADER + "t,,2,3\n" + "t,1,2,3\n" * 2, "b\udcfe.csv")
    shard = opened(folder)
    assert shard.name == "a??"
    assert shard.notes[0].encode().startswith(b"1 row skipped: b?.csv line 2")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_rows_or_a_sentence(content: bytes, after_header: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), (b"co2,temperature\n" if after_header else b"") + content)
        try:
            shard = opened(Path(folder), "co2")
        except KeheflError as error:
            assert str(error).isprintable()
        else:
            assert np.isfinite(shard.x_train).all()
            assert len(shard.y_test) >= 1


_FIELD = st.one_of(
    st.floats(-1e6, 1e6, width=32).map(repr),
    st.sampled_from(["", "nan", "x", "1,5", '"', '"7"', "1e400", "\x00", "é"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_FIELD, max_size=4), max_size=8), st.sampled_from([",", ";"]), st.sampled_from(["\n", "\r\n"]))
def test_each_line_is_a_row_or_is_counted(lines: list[list[str]], delimiter: str, end: str) -> None:
    good = [["1", "2"], ["3", "4"]]
    text = "".join(delimiter.join(line) + end for line in [["co2", "temperature"], *good, *lines])
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), text)
        shard = opened(Path(folder), "co2")
    counted = sum(int(re.match(r"\d+", note).group()) for note in shard.notes)  # type: ignore[union-attr]
    blank = sum(not delimiter.join(line).strip() for line in lines)
    assert len(rows_of(shard)) + counted + blank == 2 + len(lines)
