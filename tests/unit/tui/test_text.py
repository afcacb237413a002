"""Texts from elsewhere: nothing that a terminal acts on gets through, and everything has the width it claims."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from kehefl.tui import lines
from kehefl.tui.terminal import LastingFile
from kehefl.tui.text import clean, cut, elide, fit, to_ascii, width, wrap
from tests.unit.tui.stage import HOSTILE

ANYTHING = st.one_of(st.text(max_size=80), st.sampled_from(HOSTILE))


@given(ANYTHING)
def test_clean_leaves_no_control_no_format_and_no_surrogate(text: str) -> None:
    cleaned = clean(text)
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert clean(cleaned) == cleaned


@given(ANYTHING, st.integers(0, 40))
def test_fit_is_exactly_as_wide_as_asked(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells)) == cells
    assert cell_len(elide(text, cells)) <= cells
    assert cell_len(cut(text, cells)) <= cells


@given(ANYTHING, st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_nothing(text: str, cells: int) -> None:
    parts = wrap(text, cells)
    assert all(width(part) <= cells for part in parts)
    assert "".join(parts).replace(" ", "") == clean(text).replace(" ", "")


@given(ANYTHING)
def test_ascii_has_the_same_width(text: str) -> None:
    cleaned = clean(text)
    assert to_ascii(cleaned).isascii()
    if not any(unicodedata.category(char) in {"Mn", "Me"} for char in cleaned):
        assert len(to_ascii(cleaned)) == cell_len(cleaned)


def test_an_id_that_is_too_long_keeps_both_ends() -> None:
    assert elide("sensor-building-7-floor-0012", 15) == "sensor-…or-0012"


def test_markup_stays_text() -> None:
    assert clean("[bold red]pi[/]") == "[bold red]pi[/]"


@given(
    st.lists(st.tuples(ANYTHING, st.sampled_from(["text", "bad", "+text", "+accent"])), max_size=6), st.integers(1, 60)
)
def test_a_drawn_line_has_its_width_and_no_escape(pieces: list[tuple[str, str]], cells: int) -> None:
    for ascii_only in (False, True):
        drawn = lines.drawn(pieces, cells, ascii_only=ascii_only)
        text = "".join(piece for piece, _ in drawn)
        assert "\x1b" not in text
        assert ascii_only or cell_len(text) == cells


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        ("abc", "abc", None),
        ("abc", "abd", (2, 3)),
        ("abc", "xbc", (0, 1)),
        ("a设c", "a设d", (3, 4)),
        ("a设c", "abcc", (1, 3)),
    ],
)
def test_only_the_cells_that_differ_are_sent(before: str, after: str, span: tuple[int, int] | None) -> None:
    assert lines.changed_span(((before, "text"),), ((after, "text"),)) == span


def test_a_change_of_tone_is_a_change() -> None:
    assert lines.changed_span((("ab", "text"),), (("a", "text"), ("b", "bad"))) == (1, 2)


def test_blanks_join_what_is_before_them_and_every_word_keeps_its_tone() -> None:
    line = [("a", "bad"), ("  ", "text"), ("b", "good"), (" ", "text"), (" ", "cursor"), ("c", "+text"), (" ", "+dim")]
    assert lines.drawn(line, 9, ascii_only=False) == (
        ("a  ", "bad"),
        ("b ", "good"),
        (" ", "cursor"),
        ("c ", "+text"),
        (" ", "text"),
    )


def test_a_terminal_that_went_away_takes_writes_and_fails_none() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        flush = write  # type: ignore[assignment]

    file = LastingFile(Gone())
    assert file.write("abc") == 3
    assert file.is_gone
    file.flush()
    assert file.write("abc") == 3
