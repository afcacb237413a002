"""The columns of the device table: what each shows, how wide it is, and which go first when there is no room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kehefl.server.events import DeviceTelemetry
from kehefl.tui import figures
from kehefl.tui.glyphs import device_state
from kehefl.tui.records import Device
from kehefl.tui.text import clean, fit, width

GAP: Final = 2
DEVICE_MIN: Final = 8
#: A longer id loses its middle; the whole of it is on the device's page.
DEVICE_MAX: Final = 28
#: Below this a bar says less than a number would.
REASON_MIN: Final = 16

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """`rank` 0 always stays; the highest goes first. `cell` gives text and tone, never wider than `width`."""

    name: str
    head: str
    width: int
    rank: int
    cell: Callable[[Device, float], Cell]
    right: bool = True


def _plain(text: str) -> Cell:
    return text, "dim" if text == figures.NONE else "text"


def _state(device: Device, now: float) -> Cell:
    glyph, word, tone = device_state(device)
    return f"{glyph} {word}", tone


def _round(device: Device, now: float) -> Cell:
    if device.round is None:
        return "", "dim"
    last = device.rounds[-1] if device.rounds else None
    word = {"statistics": "stats", "evaluate": "eval"}.get(last.task, "") if last and last.round == device.round else ""
    return _plain(word or str(device.round))


def _progress(device: Device, now: float) -> Cell:
    return "", "accent"  # Drawn by the row itself, in two tones.


def _seen(device: Device, now: float) -> Cell:
    silent = None if device.seen_at is None else now - device.seen_at
    text = figures.age(silent)
    return text, "warn" if text.endswith("!") else "dim"


def _reading(get: Callable[[DeviceTelemetry], str]) -> Callable[[Device, float], Cell]:
    """A figure of the last reading; of a device that is gone it would be a tale of the past."""
    return lambda device, now: _plain(
        get(device.reading) if device.reading and device.state != "lost" else figures.NONE
    )


def _temperature(reading: DeviceTelemetry) -> str:
    return figures.NONE if reading.temperature_c is None else f"{reading.temperature_c:.0f}°"


COLUMNS: Final[tuple[Column, ...]] = (
    Column("device", "device", DEVICE_MIN, 0, lambda d, now: (d.name, "text"), right=False),
    Column("state", "state", 10, 0, _state, right=False),
    Column("round", "rnd", 5, 1, _round),
    Column("progress", "progress", 8, 4, _progress, right=False),
    Column("loss", "loss", 7, 2, lambda d, now: _plain(figures.number(d.loss))),
    Column("rmse", "rmse", 7, 8, lambda d, now: _plain(figures.number(d.metrics.get("test_rmse")))),
    Column("r2", "R2", 6, 3, lambda d, now: _plain(figures.score(d.score))),
    Column("seen", "seen", 5, 2, _seen),
    Column("cpu", "cpu", 5, 5, _reading(lambda r: figures.cpu(r.cpu_percent))),
    Column("memory", "mem", 5, 6, _reading(lambda r: figures.mib(r.rss_mib))),
    Column("temperature", "temp", 4, 10, _reading(_temperature)),
    Column("sent", "sent", 7, 9, _reading(lambda r: figures.size(r.sent_bytes))),
    Column("received", "recv", 7, 11, _reading(lambda r: figures.size(r.received_bytes))),
    Column("rows", "rows", 6, 7, lambda d, now: _plain(str(d.birth.rows_train) if d.birth else figures.NONE)),
    Column("reason", "", REASON_MIN, 12, lambda d, now: (d.reason, "dim"), right=False),
)


def fit_columns(cells: int, names: Iterable[str]) -> list[tuple[Column, int]]:
    """Columns and widths for `cells`, in table order. What has the highest rank goes first; none is ever cut."""
    wanted = max((width(clean(name)) for name in names), default=0)
    device_cells = max(DEVICE_MIN, min(DEVICE_MAX, wanted))
    kept: list[Column] = []
    used = -GAP
    for column in sorted(COLUMNS, key=lambda c: c.rank):
        need = (device_cells if column.name == "device" else column.width) + GAP
        if column.rank and used + need > cells:
            break
        kept.append(column)
        used += need
    spare = cells - used
    out: list[tuple[Column, int]] = []
    for column in COLUMNS:
        if column not in kept:
            continue
        size = column.width
        if column.name == "device":
            # Two required columns may not fit beside a long id in a very narrow table.
            size = max(DEVICE_MIN, device_cells + min(0, spare))
        elif column.name == "reason":
            size += max(0, spare)
        elif column.name == "progress" and kept[-1].name != "reason":
            size += max(0, min(spare, 12))
        out.append((column, size))
    return out


def header(columns: Sequence[tuple[Column, int]], sort: str) -> list[Cell]:
    """The heads over their columns; the one that orders the table stands out."""
    out: list[Cell] = []
    for column, cells in columns:
        if out:
            out.append((" " * GAP, "dim"))
        out.append((fit(column.head, cells, right=column.right), "accent" if column.name == sort else "dim"))
    return out


def row(device: Device, columns: Sequence[tuple[Column, int]], now: float, *, is_marked: bool) -> list[Cell]:
    """One device's line."""
    out: list[Cell] = []
    for column, cells in columns:
        if out:
            out.append((" " * GAP, "text"))
        if column.name == "progress":
            full, empty = figures.bar(device.progress, cells)
            sent = device.answer in {"sent", "late"}
            out += [(full, "deep" if sent else "accent"), (empty, "faint")]
            continue
        text, tone = column.cell(device, now)
        if column.name == "device":
            tone = "*warn" if is_marked else "*text"
        out.append((fit(text, cells, right=column.right), tone))
    return out
