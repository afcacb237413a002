"""A line chart in braille: two dots by four in a cell. Pure; values in, lines of text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: Bits of the dots of a braille cell, by column and row.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def plot(values: Sequence[float | None], width: int, height: int) -> list[str]:
    """`values` over the whole `width`, joined by lines; rows from the top. Gaps stay gaps."""
    columns, rows = width * 2, height * 4
    if width <= 0 or height <= 0:
        return []
    cells = [[0] * width for _ in range(height)]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ["\u2800" * width] * height
    low, high = min(known), max(known)
    # Halves: the difference of two huge values is not finite, half of it is.
    reach = high / 2 - low / 2
    before: tuple[int, int] | None = None
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            before = None
            continue
        x = round(index * (columns - 1) / max(1, len(values) - 1)) if len(values) > 1 else 0
        y = round((high / 2 - value / 2) / reach * (rows - 1)) if reach > 0 else rows // 2
        for dot_x, dot_y in _between(before or (x, y), (x, y)):
            cells[dot_y // 4][dot_x // 2] |= _DOTS[dot_x % 2][dot_y % 4]
        before = (x, y)
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots of a line from `start` to `end`."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (round(start[0] + (end[0] - start[0]) * i / steps), round(start[1] + (end[1] - start[1]) * i / steps))
        for i in range(steps + 1)
    ]
