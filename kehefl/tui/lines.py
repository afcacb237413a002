"""Lines of toned text: what panes paint, turned into Textual strips, and compared so that only changes are sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.segment import Segment
from textual.strip import Strip

from kehefl.tui.palette import PLAIN, is_solid, style
from kehefl.tui.text import clean, cut, to_ascii, width

#: (text, tone) pieces from left to right.
Line = Sequence[tuple[str, str]]
#: A line as it is drawn: text, tone and whether it is marked. Compared cell by cell with the one before.
Drawn = tuple[tuple[str, str], ...]


def line_width(line: Line) -> int:
    return sum(width(clean(text)) for text, _ in line)


def fill(line: Line, cells: int, *, tone: str = "text") -> list[tuple[str, str]]:
    """`line` in exactly `cells`: blank at the end, or cut with a sign that it was."""
    out: list[tuple[str, str]] = []
    left = cells
    for text, piece_tone in line:
        if left <= 0:
            break
        shown = cut(text, left)
        left -= width(shown)
        out.append((shown, piece_tone))
    if left > 0:
        out.append((" " * left, tone))
    return out


def spread(left: Line, right: Line, cells: int) -> list[tuple[str, str]]:
    """`left` at the left and `right` at the right edge; `right` goes first when there is no room."""
    gap = cells - line_width(left) - line_width(right)
    return fill([*left, (" " * gap, "text"), *right] if gap >= 1 else left, cells)


def join(pieces: Iterable[Line], gap: str = "  ") -> list[tuple[str, str]]:
    """Pieces that have something in them, with a gap between."""
    out: list[tuple[str, str]] = []
    for piece in pieces:
        if piece:
            out += [(gap, "text"), *piece] if out else [*piece]
    return out


def drawn(line: Line, cells: int, *, ascii_only: bool) -> Drawn:
    """The line as it will stand on the screen: cleaned, exactly `cells` wide, neighbours of one look joined."""
    out: list[tuple[str, str]] = []
    for text, tone in fill(line, cells):
        shown = to_ascii(text) if ascii_only else text
        if out and (out[-1][1] == tone or (shown.isspace() and _same_ground(out[-1][1], tone))):
            out[-1] = (out[-1][0] + shown, out[-1][1])
        elif shown:
            out.append((shown, tone))
    return tuple(out)


def _same_ground(before: str, after: str) -> bool:
    """Blanks show their background alone: they join what is before them, and no colour is sent for them."""
    return "cursor" not in before + after and before.startswith("+") == after.startswith("+")


def strip(line: Drawn, theme: str, cells: int) -> Strip:
    """The strip of a line. A tone that starts with `+` is on the marked row."""
    segments = []
    for text, tone in line:
        is_marked = tone.startswith("+") and not (theme in PLAIN and is_solid(text))
        segments.append(Segment(text, style(tone.lstrip("+"), theme, marked=is_marked)))
    return Strip(segments, cells)


def marked(line: Line) -> list[tuple[str, str]]:
    """The line on the cursor's row."""
    return [(text, "+" + tone) for text, tone in line]


def changed_span(before: Drawn, after: Drawn) -> tuple[int, int] | None:
    """First and last + 1 cell in which two lines of one width differ; None if they are equal."""
    if before == after:
        return None
    cells_before, cells_after = _cells(before), _cells(after)
    if len(cells_before) != len(cells_after):
        return 0, max(len(cells_before), len(cells_after))
    different = [x for x, (a, b) in enumerate(zip(cells_before, cells_after, strict=True)) if a != b]
    return (different[0], different[-1] + 1) if different else None


def _cells(line: Drawn) -> list[tuple[str, str]]:
    """One entry a cell; a wide character stands in its first cell and leaves the next one empty."""
    out: list[tuple[str, str]] = []
    for text, tone in line:
        if text.isascii():
            out += [(char, tone) for char in text]
            continue
        for char in text:
            taken = width(char)
            if taken == 0 and out:
                out[-1] = (out[-1][0] + char, tone)
            else:
                out += [(char, tone)] + [("", tone)] * (taken - 1)
    return out
