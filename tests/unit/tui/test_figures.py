"""How numbers are written, and the small charts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.tui import figures
from kehefl.tui.chart import plot

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.0000"), (0.31137, "0.3114"), (5.87, "5.870"), (33.84, "33.84"), (412.0, "412.0"),
     (99_999.0, "99999"), (1.5e-7, "1.5e-7"), (-2.5e9, "-2.5e9"), (math.nan, "–"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert figures.number(value) == text


@given(ANY_FLOAT)
def test_no_number_is_wider_than_its_column(value: float) -> None:
    assert len(figures.number(value)) <= 7
    assert len(figures.score(value)) <= 6


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (999, "999 B"), (1000, "1.0 kB"), (41_200, "41.2 kB"), (999_400, "999 kB"),
     (999_600, "1.0 MB"), (33_800_000, "33.8 MB"), (5e15, "5000.0 TB")],
)  # fmt: skip
def test_sizes(count: float, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (14.9, "14s"), (15, "15s!"), (125, "2m!"), (1e9, "999d!")])
def test_silence_grows_visibly(seconds: float, text: str) -> None:
    assert figures.age(seconds) == text
    assert len(text) <= 5


@pytest.mark.parametrize(("value", "text"), [(0.34, "340ms"), (0.9996, "1.0s"), (20.44, "20.4s"), (192.0, "3m12s")])
def test_durations(value: float, text: str) -> None:
    assert figures.seconds(value) == text


@given(st.lists(st.one_of(st.none(), ANY_FLOAT), max_size=50), st.integers(0, 30))
def test_a_sparkline_never_exceeds_its_cells(values: list[float | None], cells: int) -> None:
    assert len(figures.spark(values, cells)) <= cells


def test_a_sparkline_shows_the_shape_the_gap_and_the_flat() -> None:
    assert figures.spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert figures.spark([0, None, 7], 8) == "▁ █"
    assert figures.spark([5, 5, 5], 8) == "▄▄▄"
    assert figures.spark([1.0, 1.0], 8, reach=(0.0, 1.0)) == "██"


@given(ANY_FLOAT, st.integers(0, 30))
def test_a_bar_fills_its_cells(share: float, cells: int) -> None:
    full, empty = figures.bar(share, cells)
    assert len(full) + len(empty) == cells


@given(st.lists(st.one_of(st.none(), ANY_FLOAT), max_size=30), st.integers(0, 20), st.integers(0, 8))
def test_a_chart_has_its_size(values: list[float | None], width: int, height: int) -> None:
    rows = plot(values, width, height)
    assert all(len(row) == width for row in rows)
    assert len(rows) == (height if width else 0)


def test_a_chart_goes_from_the_first_to_the_last_value() -> None:
    rows = plot([0.0, 1.0], 4, 2)
    assert rows[0][-1] != "\u2800"
    assert rows[1][0] != "\u2800"
    assert rows[0][0] == "\u2800"
