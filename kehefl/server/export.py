"""A recorded run as a file: CSV or Parquet with a row per round and device, JSON lines with every event."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from kehefl.errors import DataError, UsageError
from kehefl.server.events import RoundClosed, RoundEvaluated, Stamped, UpdateReceived
from kehefl.server.runlog import RunLog

COLUMNS: Final = (
    "run", "round", "attempt", "device", "outcome", "late", "weight", "train_loss", "after_s", "download_s", "train_s",
    "train_cpu_s", "payload_bytes", "round_wall_s", "test_rmse", "test_mae", "test_r2",
)  # fmt: skip


def export_run(state: Path, run: str, form: str, target: Path | None = None) -> Path:
    """Write a run as `csv`, `jsonl` or `parquet`; the path of the file. It appears whole or not at all.

    DataError for a run that is not there or a file that cannot be written, UsageError when pyarrow is needed and
    missing.
    """
    log = RunLog(state)
    try:
        row = log.run(run)
        path = target or Path(f"{row.run}.{form}")
        temporary = path.with_name(path.name + ".tmp")
        try:
            match form:
                case "csv":
                    _write_csv(temporary, rows_of(log.events(row.run)))
                case "jsonl":
                    _write_jsonl(temporary, log.events(row.run))
                case _:
                    _write_parquet(temporary, rows_of(log.events(row.run)))
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{path} cannot be written: {error.strerror}. Name another file.") from error
    finally:
        log.close()
    return path.resolve()


def rows_of(events: Iterable[Stamped]) -> list[dict[str, Any]]:
    """A row per round and device, and one with device `*` for each round as a whole. Round 0 gathers statistics.

    `test_` columns are those of the model that the round made, on rows never trained on.
    """
    rows: dict[tuple[int, int, str], dict[str, Any]] = {}
    for stamped in events:
        event = stamped.event
        match event:
            case UpdateReceived():
                row = _row(rows, event.run, event.round, event.attempt, event.device)
                row.update(
                    outcome="late" if event.late else "in time",
                    late=event.late,
                    weight=event.weight,
                    train_loss=event.loss,
                    after_s=event.after_s,
                    download_s=event.download_s,
                    train_s=event.train_s,
                    train_cpu_s=event.train_cpu_s,
                    payload_bytes=event.payload_bytes,
                )
            case RoundClosed():
                whole = _row(rows, event.run, event.round, event.attempt, "*")
                whole.update(outcome=event.outcome, train_loss=event.loss, round_wall_s=event.wall_s)
                for device in event.missing:
                    _row(rows, event.run, event.round, event.attempt, device).update(outcome="missing")
            case RoundEvaluated():
                attempt = max((key[1] for key in rows if key[0] == event.round), default=1)
                _row(rows, event.run, event.round, attempt, "*").update(event.metrics)
                for device, metrics in event.per_device.items():
                    _row(rows, event.run, event.round, attempt, device).update(metrics)
            case _:
                continue
    return [rows[key] for key in sorted(rows)]


def _row(
    rows: dict[tuple[int, int, str], dict[str, Any]], run: str, round_: int, attempt: int, device: str
) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(COLUMNS)
    return rows.setdefault(
        (round_, attempt, device), {**empty, "run": run, "round": round_, "attempt": attempt, "device": device}
    )


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _write_jsonl(path: Path, events: Iterator[Stamped]) -> None:
    with path.open("wb") as file:
        for stamped in events:
            file.write(msgspec.json.encode(stamped) + b"\n")


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow. Install it: pip install 'kehefl[report]'") from None
    columns = {column: [row[column] for row in rows] for column in COLUMNS}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
