"""A folder of CSV files as the rows of one device: recordings of kehefl and of kehe-fl as they are, or any other.

Files are read in the order of their names, rows in the order of their lines; that order is taken for time. What cannot
be used is skipped, counted, and told with file and line.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kehefl.data.shard import Shard
from kehefl.errors import DataError, UsageError, nearest

#: The last fifth in time is held out: the future is predicted from the past, as a device in use would do.
TEST_SHARE: Final = 0.2
#: Skipped rows that are told one by one; the rest is counted.
TOLD_ROWS: Final = 5
#: A line longer than this is no row of a sensor.
MAX_LINE: Final = 1 << 16


class _Notes:
    """What was skipped, in sentences."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.skipped = 0

    def skip(self, file: Path, line: int, why: str) -> None:
        self.skipped += 1
        if self.skipped <= TOLD_ROWS:
            self.lines.append(f"skipped {file.name} line {line}: {why}")

    def all(self) -> tuple[str, ...]:
        more = self.skipped - TOLD_ROWS
        return (*self.lines, f"and {more} more rows skipped") if more > 0 else tuple(self.lines)


def open_folder(directory: Path, features: Sequence[str], target: str | None) -> Shard:
    """The rows of all `*.csv` in `directory`. UsageError for columns that were not named or do not exist, DataError
    when there is no folder, no file, or not two usable rows."""
    if not features or not target:
        raise UsageError(
            f"Name the columns of {directory} with --features and --target, for example --features co2,humidity "
            "--target temperature."
        )
    if target in features:
        raise UsageError(f"'{target}' cannot be both feature and target. Leave it out of --features.")
    if not directory.is_dir():
        raise DataError(f"There is no folder {directory}. Name the one with the CSV files with --data.")
    files = sorted(directory.glob("*.csv"))
    if not files:
        raise DataError(f"There is no .csv file in {directory}. Record some rows first, or name another folder.")
    columns = [*features, target]
    values = array("f")
    notes = _Notes()
    for file in files:
        _read(file, columns, values, notes)
    rows = np.frombuffer(values, np.float32).reshape(-1, len(columns)) if values else np.zeros((0, len(columns)), "f4")
    if len(rows) < 2:
        why = f" {notes.skipped} were skipped; first: {notes.lines[0]}." if notes.lines else ""
        raise DataError(f"{directory} has {len(rows)} usable rows, at least 2 are needed.{why} Record more.")
    split = len(rows) - max(1, int(len(rows) * TEST_SHARE))
    x, y = rows[:, :-1], rows[:, -1]
    return Shard(
        name=directory.resolve().name,
        source="csv",
        simulated=False,
        features=tuple(features),
        target=target,
        x_train=np.ascontiguousarray(x[:split]),
        y_train=np.ascontiguousarray(y[:split]),
        x_test=np.ascontiguousarray(x[split:]),
        y_test=np.ascontiguousarray(y[split:]),
        notes=notes.all(),
    )


def _read(file: Path, columns: Sequence[str], values: array[float], notes: _Notes) -> None:
    try:
        with file.open("rb") as raw:
            lines = _lines(raw)
            header = next(lines, None)
            if header is None:
                notes.skip(file, 1, "the file is empty")
                return
            delimiter = ";" if header[1].count(";") > header[1].count(",") else ","
            indices = _indices(file, _fields(header[1], delimiter), columns)
            width = max(indices) + 1
            for number, line, whole in lines:
                if line.strip():
                    _take(file, number, _fields(line, delimiter), (indices, width, columns, whole), values, notes)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Make it readable, or move it away.") from error


def _take(
    file: Path,
    number: int,
    fields: list[str],
    shape: tuple[list[int], int, Sequence[str], bool],
    values: array[float],
    notes: _Notes,
) -> None:
    indices, width, columns, whole = shape
    if not whole:
        # A row that was being written when the power went: its last number may be cut short.
        notes.skip(file, number, "the last row is torn")
        return
    if len(fields) < width:
        notes.skip(file, number, f"only {len(fields)} of {width} fields")
        return
    row = []
    for index, column in zip(indices, columns, strict=True):
        text = fields[index].strip()
        try:
            value = float(text)
        except ValueError:
            notes.skip(file, number, f"'{column}' is {'empty' if not text else 'not a number'}")
            return
        if not math.isfinite(value) or abs(value) > np.finfo(np.float32).max:
            notes.skip(file, number, f"'{column}' is not finite")
            return
        row.append(value)
    values.extend(row)


def _indices(file: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    found = {name.strip().strip('"').lower(): index for index, name in reversed(list(enumerate(header)))}
    if not any(name.isidentifier() for name in found):
        raise DataError(f"{file} has no header with the names of its columns. Add one as its first line.")
    for column in columns:
        if column.lower() not in found:
            raise UsageError(f"{file} has no column '{column}'. {nearest(column, [name for name in found if name])}")
    return [found[column.lower()] for column in columns]


def _lines(raw: io.BufferedReader) -> Iterator[tuple[int, str, bool]]:
    """Line number, text, and whether the line was ended. Bytes that are not UTF-8 become a character no number has."""
    for number, line in enumerate(iter(lambda: raw.readline(MAX_LINE), b""), start=1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").replace("\0", "�")
        yield number, text.rstrip("\r\n"), line.endswith(b"\n")


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
