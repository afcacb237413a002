"""The recorder: kehe-fl's daily files, and what is left after a power cut or a full disk."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kehefl.data.folder import open_folder
from kehefl.data.recorder import Recorder
from kehefl.errors import DataError

COLUMNS = ("co2", "temperature", "humidity")
NOON = datetime(2026, 1, 2, 12, 0, 0)
VALUES = {"co2": 612.5, "temperature": 21.25, "humidity": 45.0}
HEADER = b"timestamp,co2,temperature,humidity\r\n"
ROW = b"2026-01-02 12:00:00,612.5,21.25,45.0\r\n"


def test_a_day_is_a_file_with_one_header(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder", COLUMNS)
    recorder.append(NOON, VALUES)
    recorder.append(NOON, VALUES)
    recorder.append(NOON.replace(day=3), {**VALUES, "ignored": 1.0})
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["2026-01-02.csv", "2026-01-03.csv"]
    assert (folder / "2026-01-02.csv").read_bytes() == HEADER + ROW + ROW
    assert recorder.count() == 3


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    Recorder(tmp_path, COLUMNS).append(NOON, VALUES)
    again = Recorder(tmp_path, COLUMNS)
    assert again.count() == 1
    again.append(NOON, VALUES)
    assert (tmp_path / "2026-01-02.csv").read_bytes() == HEADER + ROW + ROW


def test_each_row_is_on_the_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "2026-01-02.csv").read_bytes()))
    Recorder(tmp_path, COLUMNS).append(NOON, VALUES)
    assert synced == [HEADER + ROW]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(HEADER + ROW + ROW + ROW)))
def test_a_power_cut_costs_the_row_being_written_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "2026-01-02.csv").write_bytes((HEADER + ROW * 3)[:length])
    whole = max(0, (length - len(HEADER)) // len(ROW))
    recorder = Recorder(folder, COLUMNS)
    assert recorder.count() == whole
    for _ in range(3):
        recorder.append(NOON, VALUES)
    assert recorder.count() == whole + 3
    shard = open_folder(folder, ("co2", "humidity"), "temperature")
    assert len(shard.y_train) + len(shard.y_test) == whole + 3
    assert {*shard.y_train.tolist(), *shard.y_test.tolist()} == {21.25}
    torn = length > len(HEADER) and (length - len(HEADER)) % len(ROW) > 0
    assert shard.notes == ((f"1 row skipped: 2026-01-02.csv line {whole + 2}: the row is torn",) if torn else ())


def test_another_sensor_on_the_same_day_gets_another_file_in_time_order(tmp_path: Path) -> None:
    Recorder(tmp_path, COLUMNS).append(NOON, VALUES)
    Recorder(tmp_path, ("temperature",)).append(NOON, VALUES)
    third = Recorder(tmp_path, ("co2",))
    third.append(NOON, VALUES)
    third.append(NOON.replace(day=3), VALUES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-01-02.csv",
        "2026-01-02_2.csv",
        "2026-01-02_3.csv",
        "2026-01-03.csv",
    ]
    assert (tmp_path / "2026-01-02.csv").read_bytes() == HEADER + ROW
    assert third.count() == 4


def test_a_file_that_is_taken_away_is_begun_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, COLUMNS)
    recorder.append(NOON, VALUES)
    (tmp_path / "2026-01-02.csv").unlink()
    recorder.append(NOON, VALUES)
    assert (tmp_path / "2026-01-02.csv").read_bytes() == HEADER + ROW


def test_after_a_full_disk_half_a_row_is_marked_as_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, COLUMNS)
    recorder.append(NOON, VALUES)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            recorder.append(NOON, VALUES)
    os.truncate(tmp_path / "2026-01-02.csv", len(HEADER + ROW) + 30)
    recorder.append(NOON, VALUES)
    assert recorder.count() == 2
    assert b"(torn)\r\n" in (tmp_path / "2026-01-02.csv").read_bytes()


def test_a_reading_that_lacks_a_column_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Recorder(tmp_path, COLUMNS).append(NOON, {"co2": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        Recorder(tmp_path / "file" / "folder", COLUMNS)
