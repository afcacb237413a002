"""The timeline: one bar for each round attempt, its parts side by side, all on one scale."""

from __future__ import annotations

from typing import Final

from kehefl.tui import figures, pictures
from kehefl.tui.desk import Desk
from kehefl.tui.glyphs import PHASE_PART, PHASES, round_name
from kehefl.tui.lines import Line, fill, marked
from kehefl.tui.pane import Pane
from kehefl.tui.records import Round
from kehefl.tui.text import fit, wrap

NAME_CELLS: Final = 7
BAR_MIN: Final = 12
BAR_MAX: Final = 60


class Timeline(Pane):
    """Newest at the bottom, which is kept in sight unless the cursor was moved up."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "rounds")
        #: The chosen attempt; None follows the newest.
        self.cursor: tuple[int, int] | None = None
        self._top = 0
        self._page = 1

    def number(self) -> str:
        return "2"

    def title(self) -> Line:
        run = self.desk.store.run
        if run is None:
            return [("Rounds", "title")]
        return [("Rounds ", "title"), (f"{run.completed}/{run.rounds}", "text"), ("  ", "text"), (run.name, "dim")]

    def caption(self) -> Line:
        out: list[tuple[str, str]] = []
        for block, word, tone in PHASES.values():
            out += [(" " if out else "", "dim"), (block, tone), (word, "dim")]
        return out

    def paint(self, width: int, height: int) -> list[Line]:
        told = self._banner(width, height)
        rounds = [*self.desk.store.rounds.values()]
        room = max(1, height - len(told))
        if not rounds:
            return told or self._before_any_run(width, height)
        self._page = room
        place = self._place(rounds)
        limit = max(0, len(rounds) - room)
        self._top = limit if self.cursor is None else max(place - room + 1, min(self._top, place, limit), 0)
        shown = rounds[self._top : self._top + room]
        scale = max(0.001, *(self._length(round_) for round_ in shown))
        lines: list[Line] = []
        for offset, round_ in enumerate(shown):
            line = self._row(round_, width, scale)
            here = self.is_focused and self._top + offset == place
            lines.append(marked(fill(line, width)) if here else line)
        return told + lines

    def current(self) -> Round | None:
        rounds = [*self.desk.store.rounds.values()]
        return rounds[self._place(rounds)] if rounds else None

    def move(self, step: int) -> None:
        rounds = [*self.desk.store.rounds]
        if not rounds:
            return
        place = max(0, min(len(rounds) - 1, self._place([*self.desk.store.rounds.values()]) + step))
        self.cursor = None if place == len(rounds) - 1 else rounds[place]

    def move_page(self, pages: int) -> None:
        self.move(pages * self._page)

    def move_to(self, *, end: bool) -> None:
        self.move(len(self.desk.store.rounds) * (1 if end else -1))

    def _place(self, rounds: list[Round]) -> int:
        keys = [(round_.number, round_.attempt) for round_ in rounds]
        return keys.index(self.cursor) if self.cursor in keys else len(keys) - 1

    def _length(self, round_: Round) -> float:
        return round_.wall_s if round_.closed_at is not None else max(0.0, self.desk.now - round_.opened_at)

    def _banner(self, width: int, height: int) -> list[Line]:
        told = pictures.banner(self.desk)
        if told is None:
            return []
        sign, sentence, tone = told
        lines = wrap(sentence, width - 2)[: max(1, height - 1)]
        return [[((sign if i == 0 else " ") + " ", tone), (line, tone)] for i, line in enumerate(lines)]

    def _before_any_run(self, width: int, height: int) -> list[Line]:
        advice = "No run yet. s starts one; S lets you change its settings first."
        return [()] * ((height - 1) // 2) + [[(line, "dim")] for line in wrap(advice, width)]

    def _row(self, round_: Round, width: int, scale: float) -> Line:
        sign, tone = self._sign(round_)
        tail = self._tail(round_)
        tail_cells = 27
        bar_cells = min(BAR_MAX, width - NAME_CELLS - 5 - tail_cells)
        if bar_cells < BAR_MIN:
            return [(sign + " ", tone), (fit(round_name(round_), NAME_CELLS), "text"), *tail]
        return [
            (sign + " ", tone),
            (fit(round_name(round_), NAME_CELLS), "text"),
            *self._bar(round_, bar_cells, scale),
            ("  ", "text"),
            *tail,
        ]

    def _sign(self, round_: Round) -> tuple[str, str]:
        if round_.closed_at is None:
            run = self.desk.store.run
            if run is not None and not run.is_open:
                return "⊘", "warn"
            return ("‖", "warn") if run is not None and run.status == "paused" else ("▶", "accent")
        return {"done": ("✓", "good"), "failed": ("✗", "bad")}.get(round_.outcome, ("⊘", "warn"))

    def _tail(self, round_: Round) -> list[tuple[str, str]]:
        share = round_.responded / round_.cohort if round_.cohort else None
        out = [
            (fit(figures.seconds(self._length(round_)), 6, right=True), "text"),
            (fit(figures.percent(share), 6, right=True), "text"),
        ]
        missing = len(round_.missing) if round_.closed_at is not None else len(round_.refused)
        out.append((fit(f"{missing}✗" if missing else "", 5, right=True), "bad"))
        run = self.desk.store.run
        if round_.closed_at is not None or run is None or not run.is_open:
            return out
        left = round_.deadline_left_s
        if run.status != "paused":
            left -= self.desk.now - round_.deadline_from
        return [
            *out,
            (
                fit(f" {figures.span(max(0.0, left))} left", 10, right=True),
                "warn" if left < round_.deadline_s / 5 else "dim",
            ),
        ]

    def _bar(self, round_: Round, cells: int, scale: float) -> list[tuple[str, str]]:
        """The parts of the round, each as long as it took; a part that took anything is at least seen."""
        out: list[tuple[str, str]] = []
        used = 0
        passed = 0.0
        for part, spent in parts(round_, self.desk.now):
            passed += spent
            end = min(cells, max(used + 1, round(passed / scale * cells)))
            block, _, tone = PHASES[part]
            # What is over steps back behind what is going on.
            tone = "deep" if part == "train" and (round_.closed_at is not None or self.desk.cut_off) else tone
            if end > used and spent > 0:
                out.append((block * (end - used), tone))
                used = end
        return [*out, (" " * (cells - used), "text")]


def parts(round_: Round, now: float) -> list[tuple[str, float]]:
    """What the round spent its time with, in order. Of an open round: by the phases it went through."""
    if round_.closed_at is not None:
        told = [(part, round_.spent.get(part, 0.0)) for part in ("announce", "train", "collect", "aggregate")]
        evaluating = [at for phase, at in round_.phases if phase == "evaluating"]
        return [*told, ("evaluate", max(0.0, round_.closed_at - evaluating[-1]))] if evaluating else told
    out: list[tuple[str, float]] = []
    begun = round_.opened_at
    part = "announce"
    for phase, at in round_.phases:
        if phase not in PHASE_PART:
            continue
        out.append((part, max(0.0, at - begun)))
        part, begun = PHASE_PART[phase], at
    return [*out, (part, max(0.0, now - begun))]
