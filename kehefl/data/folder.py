"""A folder of CSV files as the rows of one device: recordings of kehefl and of kehe-fl as they are, or any other.

A file is UTF-8 text with a header, its fields parted by commas or semicolons; case and spaces in column names do not
matter. Files are taken in the order of their names, rows in the order of their lines; that order is taken for time, so
daily files named by date need no column of time. What cannot be used is skipped, counted, and told with file and line.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kehefl.data.shard import Shard, shard_in_time
from kehefl.errors import DataError, UsageError, nearest

#: Places that are named for each reason why rows were skipped; the others are counted.
TOLD_PLACES: Final = 3
#: Reasons that are told; a folder with more is told in one sentence.
TOLD_REASONS: Final = 8
#: Columns that are named where one was asked for that no file has.
TOLD_COLUMNS: Final = 40
#: A line longer than this is no row of a sensor.
MAX_LINE_BYTES: Final = 1 << 16
#: What the recorder ends a row with that a power cut has torn. A row cut inside its last number would look whole.
TORN: Final = "(torn)"

# float() also takes underscores, digits of any script, "nan" and "infinity".
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST: Final = float(np.finfo(np.float32).max)


class Skipped:
    """What was not used and why: places (file and line) by reason."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}
        self._files: list[str] = []

    def row(self, file: Path, line: int, why: str) -> None:
        self._counts[why] = self._counts.get(why, 0) + 1
        places = self._places.setdefault(why, [])
        if len(places) < TOLD_PLACES:
            places.append(f"{shown(file.name)} line {line}")

    def file(self, file: Path, why: str) -> None:
        self._files.append(f"{shown(file.name)} skipped: {why}")

    def notes(self) -> tuple[str, ...]:
        """Sentences such as `3 rows skipped: 2026-01-02.csv line 17, 2026-01-02.csv line 18 and 1 more: 'co2' is
        empty`, of the most frequent reason first."""
        told = [*self._files, *(self._told(why) for why in sorted(self._counts, key=lambda why: -self._counts[why]))]
        more = len(told) - TOLD_REASONS
        return (*told[:TOLD_REASONS], f"and {more} more reasons to skip") if more > 0 else tuple(told)

    def _told(self, why: str) -> str:
        count, places = self._counts[why], self._places[why]
        rest = f" and {count - len(places)} more" if count > len(places) else ""
        return f"{count} row{'s' if count > 1 else ''} skipped: {', '.join(places)}{rest}: {why}"


def open_folder(directory: Path, features: Sequence[str], target: str | None) -> Shard:
    """The rows of all `*.csv` in `directory`; the last fifth of them is held out.

    UsageError for columns that were not named or that no file has, DataError when there is no folder, no file that can
    be read, or not two usable rows.
    """
    columns = _columns(directory, features, target)
    values = array("f")
    skipped = Skipped()
    headers: set[str] = set()
    files = _files(directory)
    for file in files:
        try:
            _read(file, columns, values, skipped, headers)
        except OSError as error:
            raise DataError(
                f"{shown(str(file))} cannot be read: {error.strerror}. Make it readable, or move it away."
            ) from error
    count = len(values) // len(columns)
    notes = skipped.notes()
    nowhere = [column for column in columns if headers and _key(column) not in headers]
    if nowhere:
        raise UsageError(
            f"No file of {shown(str(directory))} has a column '{shown(nowhere[0])}'. "
            + nearest(_key(nowhere[0]), [shown(name, 40) for name in sorted(headers)[:TOLD_COLUMNS]])
        )
    if count < 2:
        why = f" {notes[0]}." if notes else ""
        raise DataError(
            f"{shown(str(directory))} has {count} usable row{'' if count == 1 else 's'}, at least 2 are needed.{why} "
            "Record more, or mend the files."
        )
    return shard_in_time(
        np.frombuffer(values, np.float32).reshape(-1, len(columns)),
        name=shown(directory.resolve().name) or "data",
        source="csv",
        simulated=False,
        features=columns[:-1],
        target=columns[-1],
        notes=notes,
    )


def shown(text: str, most: int = 200) -> str:
    """`text` from outside as it can be shown and sent: printable, valid Unicode, not endless."""
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def _columns(directory: Path, features: Sequence[str], target: str | None) -> tuple[str, ...]:
    if not features or not target:
        raise UsageError(
            f"Name the columns of {shown(str(directory))} with --features and --target, for example "
            "--features co2,humidity --target temperature."
        )
    keys = [_key(column) for column in (*features, target)]
    if "" in keys:
        raise UsageError("A column without a name was asked for. Name the columns with --features a,b --target c.")
    if keys[-1] in keys[:-1]:
        raise UsageError(f"'{shown(target)}' cannot be both feature and target. Leave it out of --features.")
    if len(set(keys)) < len(keys):
        raise UsageError(f"A feature is named twice in {shown(', '.join(features))}. Name each once.")
    return (*features, target)


def _files(directory: Path) -> list[Path]:
    try:
        if not directory.is_dir():
            raise DataError(f"There is no folder {shown(str(directory))}. Name the one with the CSV files with --data.")
        # Files with a leading dot are leavings of editors and of other systems, not recordings.
        files = sorted(
            path
            for path in directory.iterdir()
            if path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise DataError(
            f"The folder {shown(str(directory))} cannot be read: {error.strerror}. Make it readable, or name another."
        ) from error
    if not files:
        raise DataError(
            f"There is no .csv file in {shown(str(directory))}. Record some rows first, or name another folder."
        )
    return files


def _read(
    file: Path,
    columns: Sequence[str],
    values: array[float],
    skipped: Skipped,
    headers: set[str],
) -> None:
    """Append the rows of `file` to `values`, and the columns in its header to `headers`."""
    with file.open("rb") as raw:
        lines = _lines(raw)
        header = next(((text, whole) for _, text, whole in lines if text.strip()), None)
        if header is None:
            skipped.file(file, "it is empty")
            return
        text, whole = header
        if "\0" in text:
            skipped.file(file, "it is not UTF-8 text")
            return
        delimiter = ";" if text.count(";") > text.count(",") else ","
        names = [_key(name) for name in _fields(text, delimiter)]
        missing = [column for column in columns if _key(column) not in names]
        if missing:
            if not whole:
                skipped.file(file, "its header is torn")
            elif not any(names) or any(_NUMBER.fullmatch(name) for name in names):
                skipped.file(file, "it has no header with the names of its columns")
            else:
                skipped.file(file, f"it has no column '{shown(missing[0], 60)}'")
                headers.update(filter(None, names))
            return
        headers.update(filter(None, names))
        wanted = [(names.index(_key(column)), f"'{shown(column, 60)}'") for column in columns]
        for number, line, ended in lines:
            if not line.strip():
                continue
            row = _row(line, ended, delimiter, len(names), wanted)
            if isinstance(row, str):
                skipped.row(file, number, row)
            else:
                values.extend(row)


def _row(line: str, ended: bool, delimiter: str, width: int, wanted: list[tuple[int, str]]) -> list[float] | str:
    """The wanted values of a line, or why there are none."""
    # The number of fields is exact: a torn row that was written on to has lost or gained some, and its values with it.
    if not ended or line.endswith(TORN):
        return "the row is torn" if len(line) < MAX_LINE_BYTES // 4 else "the line is too long"
    fields = _fields(line, delimiter)
    while len(fields) > width and not fields[-1].strip():
        fields.pop()
    if len(fields) != width:
        return "too few fields" if len(fields) < width else "too many fields"
    row = []
    for index, column in wanted:
        text = fields[index].strip()
        if not _NUMBER.fullmatch(text):
            return _fault(column, text, delimiter)
        value = float(text)
        if not -_LARGEST <= value <= _LARGEST:
            return f"{column} is too large"
        row.append(value)
    return row


def _fault(column: str, text: str, delimiter: str) -> str:
    if not text:
        return f"{column} is empty"
    if delimiter == ";" and _NUMBER.fullmatch(text.replace(",", ".", 1)):
        return f"{column} has a decimal comma, a point is needed"
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = True
    return f"{column} is not a number" if finite else f"{column} is not finite"


def _lines(raw: io.BufferedReader) -> Iterator[tuple[int, str, bool]]:
    """Line number, text, and whether the line was ended. Bytes that are not UTF-8 become a character no number has."""
    number = 0
    while line := raw.readline(MAX_LINE_BYTES):
        number += 1
        ended = line.endswith(b"\n")
        if not ended:
            # A line that is too long stays without an end; its rest is read past, not kept.
            while (rest := raw.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
        yield number, text.rstrip("\r\n"), ended


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _key(name: str) -> str:
    return "".join(name.split()).casefold()
