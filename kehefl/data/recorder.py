"""The recorder: readings to one CSV file a day, columns `timestamp` and those of the sensor, as kehe-fl writes them."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from kehefl.data.folder import TORN
from kehefl.errors import DataError


class Recorder:
    """Appends to `directory`/YYYY-MM-DD.csv. Each row is on the disk when `append` returns: a power cut loses at most
    the one being written. Only the recorder of a folder writes there.

    A row that was torn before is ended with `(torn)`, so that no reader takes half a number for a whole one. Should a
    day's file have other columns (another sensor), the day goes on in YYYY-MM-DD_2.csv.
    """

    def __init__(self, directory: Path, columns: Sequence[str]) -> None:
        self._directory = directory
        self._columns = tuple(columns)
        self._header = _line(["timestamp", *self._columns])
        self._open: Path | None = None
        self._counted: dict[Path, tuple[int, int]] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{directory} cannot be made: {error.strerror}. Name another with --data.") from error

    def append(self, at: datetime, values: Mapping[str, float]) -> None:
        """Write one reading, of the time `at`. KeyError when a column lacks, OSError when the disk does not take it.

        Waits for the disk; call it from a thread where that matters.
        """
        line = _line([at.strftime("%Y-%m-%d %H:%M:%S"), *(values[column] for column in self._columns)])
        if self._open is None or self._open.name[:10] != f"{at:%Y-%m-%d}" or not self._open.exists():
            self._open = self._file_of(f"{at:%Y-%m-%d}")
        path = self._open
        # Until the row is written, the file counts as torn: after a full disk, the next row looks again.
        self._open = None
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._open = path

    def count(self) -> int:
        """Rows recorded in the folder so far, torn ones not counted. Files that have not grown are not read again."""
        return sum(self._rows_of(path) for path in self._directory.glob("*.csv"))

    def _file_of(self, day: str) -> Path:
        """The file of the day, with a header and whole rows in it."""
        for path in _names(self._directory, day):
            if not path.exists():
                break
            with path.open("rb") as file:
                first = file.readline(len(self._header) + 1)
            if first.rstrip(b"\r\n") == self._header.rstrip() and first.endswith(b"\n"):
                _end_torn_row(path)
                return path
            if self._header.startswith(first):
                # The header itself was torn, so there is no row yet.
                break
        with path.open("wb") as file:
            file.write(self._header)
        return path

    def _rows_of(self, path: Path) -> int:
        size = path.stat().st_size
        known = self._counted.get(path)
        if known is None or known[0] != size:
            torn = TORN.encode()
            with path.open("rb") as file:
                rows = sum(line.endswith(b"\n") and not line.rstrip().endswith(torn) for line in file)
            known = self._counted[path] = (size, max(0, rows - 1))
        return known[1]


def _names(directory: Path, day: str) -> Iterator[Path]:
    # "_" sorts after "." and before the next day: files by name stay rows in time.
    yield directory / f"{day}.csv"
    yield from (directory / f"{day}_{number}.csv" for number in itertools.count(2))


def _end_torn_row(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        if file.read(1) != b"\n":
            file.write(f"{TORN}\r\n".encode())


def _line(fields: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(fields)
    return text.getvalue().encode()
