"""Text that came from elsewhere, made safe and made to fit. Everything drawn passes through `clean`.

A device id, a reason or a file name may hold markup, escape sequences, bidirectional controls, wide or combining
characters. `clean` leaves only what a terminal draws as text; `fit`, `elide` and `wrap` count terminal cells.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from rich.cells import cell_len

#: Shown in place of a character that a terminal would act on.
HIDDEN: Final = "·"
#: No sentence of ours is longer; a longer text is an accident or an attack.
MAX_CHARS: Final = 4000
#: More marks on one letter than any script uses would run over the neighbouring lines.
MAX_MARKS: Final = 2

_TO_ASCII: Final = str.maketrans(
    {
        "│": "|", "─": "-", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
        "▁": "_", "▂": ".", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "█": "#", "▏": "#", "▌": "#",
        "░": ".", "▒": ":", "▓": "%", "▚": "&", "▞": "@", "┃": "|", "━": "=", "╌": ".", "╎": "|", "┊": ":",
        "●": "o", "○": ".", "▶": ">", "▲": "^", "▼": "v", "◌": "~", "✗": "x", "✓": "+", "◇": "-", "⊘": "#", "◆": "*",
        "…": "~", "·": ".", "–": "-", "—": "-", "›": ">", "↵": "<", "↑": "^", "↓": "v", "→": ">", "←": "<", "‖": "=",
        "×": "x", "²": "2", "±": "+", "≤": "<", "Δ": "d", "µ": "u", "⋯": "~", "▸": ">", "▪": "*", "■": "#", "□": ".",
        "°": "'",
    }
)  # fmt: skip


def clean(text: str) -> str:
    """`text` without anything a terminal acts on: controls, escapes, invisible and bidirectional characters."""
    if text.isascii() and text.isprintable():
        return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
    return _clean_slowly(text)


@lru_cache(maxsize=2048)
def _clean_slowly(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text[:MAX_CHARS]):
        category = unicodedata.category(char)
        if category in {"Mn", "Me"}:
            marks += 1
            # Variation selectors change a width that terminals disagree about.
            if marks <= MAX_MARKS and kept and not 0xFE00 <= ord(char) <= 0xFE0F:
                kept.append(char)
            continue
        marks = 0
        if char in "\t\n\r" or category in {"Zs", "Zl", "Zp"}:
            kept.append(" ")
        elif category == "Cf":
            continue
        else:
            kept.append(HIDDEN if category.startswith("C") else char)
    return "".join(kept) + ("…" if len(text) > MAX_CHARS else "")


def width(text: str) -> int:
    """Terminal cells that the clean `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def elide(text: str, cells: int) -> str:
    """`text`, cleaned, in at most `cells`: the middle goes, since ids differ at the end."""
    text = clean(text)
    if width(text) <= cells:
        return text
    if cells <= 1:
        return "…"[:cells]
    tail_cells = (cells - 1) // 2
    return _head(text, cells - 1 - tail_cells) + "…" + _head(text[::-1], tail_cells)[::-1]


def cut(text: str, cells: int) -> str:
    """`text`, cleaned, in at most `cells`: the end goes, with a sign that it went."""
    text = clean(text)
    return text if width(text) <= cells else _head(text, max(0, cells - 1)) + "…"[: max(0, cells)]


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """`text`, cleaned, in exactly `cells`."""
    text = elide(text, cells)
    blank = " " * (cells - width(text))
    return blank + text if right else text + blank


def wrap(text: str, cells: int) -> list[str]:
    """`text`, cleaned, in lines of at most `cells`; a word that is longer is broken."""
    lines: list[str] = []
    line = ""
    for given in clean(text).split(" "):
        word = given
        while width(word) > cells:
            if line:
                lines.append(line)
                line = ""
            head = _head(word, cells) or word[:1]
            lines.append(head)
            word = word[len(head) :]
        if line and width(line) + 1 + width(word) > cells:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line or not lines else lines


def to_ascii(text: str) -> str:
    """`text` in ASCII alone, cell for cell: our own signs by a table, a braille dot as `*`, anything else as `?`."""
    if text.isascii():
        return text
    out: list[str] = []
    for char in text.translate(_TO_ASCII):
        if char.isascii():
            out.append(char)
        elif 0x2800 <= ord(char) <= 0x28FF:
            out.append(" " if char == "\u2800" else "*")
        else:
            out.append("?" * cell_len(char))
    return "".join(out)


def _head(text: str, cells: int) -> str:
    taken = 0
    for index, char in enumerate(text):
        taken += 1 if char.isascii() else cell_len(char)
        if taken > cells:
            return text[:index]
    return text
