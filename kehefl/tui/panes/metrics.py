"""The metric charts: error and score over the rounds; worked out again only when a round brought new figures."""

from __future__ import annotations

from typing import Final

from kehefl.tui import figures
from kehefl.tui.chart import plot
from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line
from kehefl.tui.pane import Pane
from kehefl.tui.records import Run
from kehefl.tui.text import fit

AXIS_CELLS: Final = 7
#: Two charts stand side by side from this width on, one above the other from this height on.
BESIDE_CELLS: Final = 56
ABOVE_LINES: Final = 14

Series = tuple[str, str, list[float | None]]


class MetricChart(Pane):
    """Error (rows never trained on, else loss) and R2."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "metrics")
        self._drawn_for: object = None
        self._chart: list[Line] = []

    def number(self) -> str:
        return "3"

    def title(self) -> Line:
        return [("Metrics", "title")]

    def caption(self) -> Line:
        run = self.desk.store.run
        return [(f"round 1-{max(run.figures)}", "dim")] if run and run.figures else ()

    def paint(self, width: int, height: int) -> list[Line]:
        run = self.desk.store.run
        if run is None or not any(figure.error or figure.loss for figure in run.figures.values()):
            return [()] * ((height - 1) // 2) + [[("The first round that is evaluated starts the chart.", "dim")]]
        last = next(reversed(run.figures.values()))
        key = (run.name, len(run.figures), last.error, last.loss, last.score, last.bytes, width, height)
        if key != self._drawn_for:
            self._drawn_for, self._chart = key, _charts(series(run), width, height)
        return self._chart


def series(run: Run) -> list[Series]:
    """(name, tone, values by round) of what is charted."""
    kept = [*run.figures.values()]
    errors = [figure.error for figure in kept]
    scores = [figure.score for figure in kept]
    has_errors = any(error is not None for error in errors)
    out: list[Series] = [("rmse", "accent", errors) if has_errors else ("loss", "accent", [f.loss for f in kept])]
    if any(score is not None for score in scores):
        out.append(("R2", "info", scores))
    return out


def _charts(all_series: list[Series], width: int, height: int) -> list[Line]:
    if len(all_series) == 1:
        return _one(all_series[0], width, height)
    if height >= ABOVE_LINES:
        upper = height // 2
        return _one(all_series[0], width, upper) + _one(all_series[1], width, height - upper)
    if width < BESIDE_CELLS:
        return _one(all_series[0], width, height)
    half = (width - 3) // 2
    left, right = _one(all_series[0], half, height), _one(all_series[1], width - 3 - half, height)
    return [[*a, ("   ", "text"), *b] for a, b in zip(left, right, strict=True)]


def _one(one: Series, width: int, height: int) -> list[Line]:
    """A chart with its axis: highest and lowest value at the left, the last one in its head."""
    name, tone, values = one
    known = [value for value in values if value is not None]
    cells, rows = width - AXIS_CELLS - 1, height - 1
    if rows < 2 or cells < 8:
        return [[(f"{name} ", "dim"), (figures.number(known[-1]), tone)], *[()] * (height - 1)]
    head: Line = [
        (fit(name, AXIS_CELLS, right=True), "dim"),
        (" ", "text"),
        (fit(figures.number(known[-1]), cells), "*" + tone),
    ]
    lines: list[Line] = [head]
    for y, dots in enumerate(plot(values, cells, rows)):
        label = figures.number(max(known)) if y == 0 else figures.number(min(known)) if y == rows - 1 else ""
        lines.append(
            [(fit(label, AXIS_CELLS, right=True), "faint" if not label else "dim"), ("╎", "faint"), (dots, tone)]
        )
    return lines
