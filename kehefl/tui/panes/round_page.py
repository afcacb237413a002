"""One round, device by device: slowest first, the deadline as a line, what it moved and changed."""

from __future__ import annotations

from statistics import median

from kehefl.tui import figures
from kehefl.tui.desk import Desk
from kehefl.tui.glyphs import ANSWER, round_name
from kehefl.tui.lines import Line
from kehefl.tui.panes.pages import Page
from kehefl.tui.records import DeviceRound, Round
from kehefl.tui.text import fit, wrap


class RoundPage(Page):
    """`shown` is the round and the attempt."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "round")
        self.shown = (0, 1)

    def body(self, width: int) -> list[Line]:
        round_ = self.desk.store.rounds.get(self.shown)
        if round_ is None:
            return [(), [("This round is not kept any more. Esc goes back.", "dim")]]
        lines = summary(round_, self.desk.now, width)
        if not round_.answers:
            return [*lines, (), [("Answers of single devices are kept for the last rounds only.", "dim")]]
        lines.append(())
        elapsed = max(0.0, self.desk.now - round_.opened_at)
        order = sorted(round_.answers.items(), key=lambda item: (-_time(item[1], elapsed), item[0]))
        scale = max(round_.deadline_s if round_.deadline_s < 2 * elapsed else 0.0, 0.001,
                    *(_time(done, elapsed) for _, done in order if done.after_s is not None))  # fmt: skip
        cells = max(10, width - 50)
        return lines + [_bar(name, done, round_, elapsed, scale=scale, cells=cells) for name, done in order]


def summary(round_: Round, now: float, width: int) -> list[Line]:
    """What the round came to."""
    times = sorted(done.after_s for done in round_.answers.values() if done.after_s is not None)
    lasted = round_.wall_s if round_.closed_at is not None else max(0.0, now - round_.opened_at)
    head = f"{round_name(round_)} {round_.outcome or round_.phase}, {figures.seconds(lasted)}, "
    head += f"{round_.responded} of {round_.cohort} answered, {round_.needed} needed"
    lines: list[Line] = [[(line, "title")] for line in wrap(head, width)]
    if times:
        late = times[min(len(times) - 1, int(0.95 * len(times)))]
        text = f"answers: half within {figures.seconds(median(times))}, 95% within {figures.seconds(late)}"
        lines.append([(text, "text")])
    deadline = f"deadline {figures.seconds(round_.deadline_s)}"
    if round_.closed_at is not None:
        moved = f"received {figures.size(round_.received_bytes)}, sent {figures.size(round_.sent_bytes)}"
        change = "" if round_.change_norm is None else f", change of the model {figures.number(round_.change_norm)}"
        lines += [[(line, "dim")] for line in wrap(f"{deadline}; {moved}{change}", width)]
    else:
        lines.append([(deadline, "dim")])
    if round_.reason:
        lines += [[(line, "bad")] for line in wrap(round_.reason, width)]
    return lines


def _time(done: DeviceRound, elapsed: float) -> float:
    return elapsed + 1e9 if done.after_s is None else done.after_s


def _bar(name: str, done: DeviceRound, round_: Round, elapsed: float, *, scale: float, cells: int) -> Line:
    glyph, word, tone = ANSWER[done.answer]
    spent = done.after_s if done.after_s is not None else (elapsed if round_.closed_at is None else round_.wall_s)
    download = 0 if done.download_s is None else round(done.download_s / scale * cells)
    train = 0 if done.train_s is None else round(done.train_s / scale * cells)
    full = max(1, min(cells, round(spent / scale * cells)))
    download, train = min(download, full), min(train, max(0, full - download))
    rest = full - download - train
    blank = " " * (cells - full)
    # The deadline stands as a line in the blank part, where it lies within the scale.
    mark = round(round_.deadline_s / scale * cells) - full - 1
    if 0 <= mark < len(blank):
        blank = blank[:mark] + "┊" + blank[mark + 1 :]
    bar: list[tuple[str, str]] = [
        ("▒" * download, "dim"),
        ("█" * train, "accent"),
        ("▓" * rest, "info"),
        (blank, "warn"),
    ]
    if done.after_s is None:
        bar = [("░" * full, "faint"), (blank, "warn")]
    return [
        (fit(name, 14), "text"),
        ("  ", "text"),
        (fit(f"{glyph} {word}", 9), tone),
        ("  ", "text"),
        *bar,
        (fit(figures.seconds(done.after_s), 7, right=True), "text"),
        (fit(figures.size(done.payload_bytes), 9, right=True), "dim"),
        *([(f"  {done.reason}", "warn")] if done.reason else []),
    ]
