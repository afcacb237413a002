"""How numbers are written: one form for a quantity, everywhere, never wider than its column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

#: What stands where there is no value.
NONE: Final = "–"
BLOCKS: Final = "▁▂▃▄▅▆▇█"
#: A device says something every few seconds; after this long its silence is worth a colour.
STALE_S: Final = 15.0


def number(value: float | None) -> str:
    """Four significant digits at most, at most seven characters."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size != 0 and (size >= 1e6 or size < 1e-4):
        text = _scientific(value, 1)
        return text if len(text) <= 7 else _scientific(value, 0)
    for limit, digits in ((1, 4), (10, 3), (100, 2), (1000, 1)):
        if size < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def score(value: float | None) -> str:
    """R2 or a share of correct answers: three decimals, at most six characters."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return number(value)
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return text if len(text) <= 6 else _scientific(value, 0)


def _scientific(value: float, digits: int) -> str:
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].strip("+"), f"{value:.{digits}e}")


def size(count: float | None) -> str:
    """Bytes in decimal units: `812 B`, `41.2 kB`, `33.8 MB`."""
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def mib(value: float | None) -> str:
    """Memory in MiB, as `41M` or `1.2G`."""
    if value is None:
        return NONE
    return f"{value:.0f}M" if value < 1000 else f"{value / 1024:.1f}G"


def percent(share: float | None) -> str:
    return NONE if share is None or math.isnan(share) else f"{share * 100:.0f}%"


def cpu(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:.0f}%"


def age(seconds: float | None) -> str:
    """How long ago, coarse enough to be calm; a `!` when it is too long."""
    if seconds is None:
        return NONE
    return span(max(0.0, seconds)) + ("!" if seconds >= STALE_S else "")


def span(seconds: float) -> str:
    """A length of time in at most four characters: `8s`, `4m`, `3h`, `12d`."""
    for limit, divisor, unit in ((100, 1, "s"), (6000, 60, "m"), (360_000, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds / divisor)}{unit}"
    return f"{min(999, int(seconds / 86_400))}d"


def seconds(value: float | None) -> str:
    """A measured duration: `340ms`, `1.4s`, `20.4s`, `3m12s`."""
    if value is None or math.isnan(value):
        return NONE
    if value < 0.9995:
        return f"{value * 1000:.0f}ms"
    if value < 99.95:
        return f"{value:.1f}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 100 else f"{value / 3600:.1f}h"


def spark(values: Sequence[float | None], cells: int, *, reach: tuple[float, float] | None = None) -> str:
    """The last `cells` values as blocks of one style; a missing one is a gap. `reach` sets lowest and highest."""
    shown = list(values)[-cells:] if cells > 0 else []
    known = [value for value in shown if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, high = reach or (min(known), max(known))
    # A change of less than half a hundredth is flat, and drawn at half height.
    # Halves: the difference of two huge values is not finite, half of it is.
    span = high / 2 - low / 2
    flat = span <= abs(high) * 2.5e-3

    def block(value: float) -> str:
        if flat:
            return BLOCKS[3]
        share = max(0.0, min(1.0, (value / 2 - low / 2) / span))
        return BLOCKS[int(share * (len(BLOCKS) - 1) + 0.5)]

    return "".join(" " if value is None or not math.isfinite(value) else block(value) for value in shown)


def bar(share: float, cells: int) -> tuple[str, str]:
    """The full and the empty part of a bar."""
    full = int(max(0.0, min(1.0, share)) * cells + 0.5) if math.isfinite(share) else 0
    return "━" * full, "╌" * (cells - full)
