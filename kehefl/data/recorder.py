"""The recorder: readings to one CSV file a day, columns `timestamp` and those of the sensor, as kehe-fl writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from kehefl.errors import DataError


class Recorder:
    """Appends to `directory`/YYYY-MM-DD.csv. A row is written in one piece; a power cut loses at most that one."""

    def __init__(self, directory: Path, columns: Sequence[str]) -> None:
        self._directory = directory
        self._columns = tuple(columns)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{directory} cannot be made: {error.strerror}. Name another with --data.") from error

    def append(self, at: datetime, values: Mapping[str, float]) -> None:
        """Write one reading. KeyError when a column lacks, OSError when the disk does not take it."""
        row = [at.strftime("%Y-%m-%d %H:%M:%S"), *(values[column] for column in self._columns)]
        path = self._directory / f"{at:%Y-%m-%d}.csv"
        with path.open("ab") as file:
            if file.tell() == 0:
                file.write(_line(["timestamp", *self._columns]))
            elif not _ends_with_newline(path):
                # The row before was torn by a power cut; it is left alone, and skipped by whoever reads.
                file.write(b"\r\n")
            file.write(_line(row))

    def count(self) -> int:
        """Rows recorded in the folder so far, torn ones not counted."""
        return sum(max(0, _count_lines(path) - 1) for path in self._directory.glob("*.csv"))


def _line(fields: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(fields)
    return text.getvalue().encode()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read(1) == b"\n"


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
