"""Which devices the table shows, in which order: filter and sort, pure."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kehefl.errors import UsageError, nearest
from kehefl.tui.records import Device

#: Trouble first, then work, then rest.
_STATE_ORDER: Final = {
    state: i for i, state in enumerate(("lost", "training", "uploading", "ready", "leaving", "drained", "evicted"))
}

Value = float | str | None
SORTS: Final[dict[str, Callable[[Device], Value]]] = {
    "device": lambda d: d.name,
    "state": lambda d: _STATE_ORDER.get(d.doing, 99),
    "round": lambda d: d.round,
    "progress": lambda d: d.progress,
    "loss": lambda d: d.loss,
    "rmse": lambda d: d.metrics.get("test_rmse"),
    "r2": lambda d: d.score,
    "seen": lambda d: d.seen_at,
    "cpu": lambda d: d.reading.cpu_percent if d.reading else None,
    "memory": lambda d: d.reading.rss_mib if d.reading else None,
    "sent": lambda d: d.reading.sent_bytes if d.reading else None,
    "received": lambda d: d.reading.received_bytes if d.reading else None,
    "rows": lambda d: d.birth.rows_train if d.birth else None,
}
FILTER_KEYS: Final = ("state", "board", "answer", "reason")


def check_column(name: str) -> str:
    """The column's name. Raises UsageError naming the nearest."""
    if name not in SORTS:
        raise UsageError(f"There is no column '{name}'. {nearest(name, SORTS)}")
    return name


def arrange(devices: Iterable[Device], expression: str, column: str, *, descending: bool) -> list[Device]:
    """Devices that match, in order; those without a value come last either way."""
    terms = expression.split()
    chosen = [device for device in devices if matches(device, terms)] if terms else [*devices]
    chosen.sort(key=lambda device: device.name)
    value = SORTS[column]
    if column != "device":
        with_value = [device for device in chosen if _known(value(device))]
        without = [device for device in chosen if not _known(value(device))]
        with_value.sort(key=lambda device: _order(value(device)), reverse=descending)
        return with_value + without
    return chosen[::-1] if descending else chosen


def matches(device: Device, terms: Sequence[str]) -> bool:
    """Every term holds: `state=lost`, `board=*pi*`, a glob or a part of the id; `!` in front turns one round."""
    return all(not _holds(device, term[1:]) if term.startswith("!") else _holds(device, term) for term in terms)


def _holds(device: Device, term: str) -> bool:
    if not term:
        return True
    key, separator, wanted = term.partition("=")
    if separator and key in FILTER_KEYS:
        value = {
            "state": device.doing,
            "answer": device.answer,
            "reason": device.reason,
            "board": device.birth.board if device.birth else "",
        }[key]
        return fnmatch.fnmatchcase(value.lower(), wanted.lower() + ("" if "*" in wanted else "*"))
    if any(sign in term for sign in "*?["):
        return fnmatch.fnmatchcase(device.name, term)
    return term.lower() in device.name.lower()


def _known(value: Value) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _order(value: Value) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (float(value or 0.0), "")
