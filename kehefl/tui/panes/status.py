"""The two lines at the top: where things stand, and how the metrics move."""

from __future__ import annotations

from kehefl.tui import figures
from kehefl.tui.desk import Desk
from kehefl.tui.glyphs import LINK, RUN, SCENARIO
from kehefl.tui.lines import Line, join, line_width, spread
from kehefl.tui.pane import Pane
from kehefl.tui.records import Device, Run
from kehefl.tui.store import GONE


class StatusLine(Pane):
    """Broker, scenario, round, devices: the parts that matter least go first when there is no room."""

    BORDERED = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "status")

    def paint(self, width: int, height: int) -> list[Line]:
        desk = self.desk
        pieces = [(0, link(desk)), (2, run(desk)), (1, round_(desk)), (0, devices(desk.devices())), (4, loss(desk))]
        guard: Line = [("read-only ", "*warn")] if desk.read_only else ()
        note: Line = [(desk.note + " ", "dim")] if desk.note else ()
        room = width - 2 - line_width(guard)
        kept = [piece for piece in pieces if piece[1]]
        while line_width(join(line for _, line in kept)) > room and len(kept) > 1:
            kept.remove(max(kept, key=lambda piece: piece[0]))
        left: Line = [(" ", "text"), *join(line for _, line in kept)]
        fits = line_width(left) + line_width(guard) + line_width(note) < width
        return [spread(left, [*guard, *note] if fits else guard, width)]


def link(desk: Desk) -> Line:
    link = desk.store.link
    glyph, word, tone = LINK[link.state]
    told = "no broker" if link.state == "lost" and not link.ever_up else f"broker {word}"
    out = [(f"{glyph} ", tone), (told, "text" if link.state == "up" else tone)]
    if link.state == "lost":
        left = 0.0 if link.retry_at is None else max(0.0, link.retry_at - desk.now)
        out.append((f"  retry {link.attempt} in {figures.span(left)}", "dim"))
        if link.ever_up:
            out.append((f"  data {figures.span(max(0.0, desk.now - link.since))} old", "warn"))
    return out


def run(desk: Desk) -> Line:
    run = desk.store.run
    if run is None:
        return [("no run", "dim")]
    scenario = SCENARIO.get(run.scenario, run.scenario)
    if run.status == "running":
        return [(scenario, "title")]
    glyph, word, tone = RUN.get(run.status, ("?", run.status, "warn"))
    return [(scenario + " ", "title"), (f"{glyph} {word}", tone)]


def round_(desk: Desk) -> Line:
    run, current = desk.store.run, desk.store.round
    if run is None or current is None:
        return ()
    if desk.store.waiting and run.is_open:
        return [("waiting for devices", "warn")]
    if not run.is_open:
        return [("r ", "dim"), (f"{run.completed}/{run.rounds}", "text")]
    word = {"statistics": "stats", "evaluate": "eval"}.get(current.task, "train")
    number = f"{current.number}/{run.rounds}" if current.task == "train" else f"{run.completed}/{run.rounds}"
    attempt = f" attempt {current.attempt}" if current.attempt > 1 else ""
    return [("r ", "dim"), (number, "*text"), (f" {word}{attempt}", "accent")]


def devices(devices: list[Device]) -> Line:
    if not devices:
        return [("dev ", "dim"), ("0", "text")]
    lost = sum(1 for device in devices if device.state == "lost")
    here = sum(1 for device in devices if device.state not in GONE)
    out = [("dev ", "dim"), (f"{here}/{len(devices)}", "text")]
    if lost:
        out.append((f" ✗{lost}", "bad"))
    return out


def loss(desk: Desk) -> Line:
    run = desk.store.run
    if run is None:
        return ()
    last = next((kept for kept in reversed(run.figures.values()) if kept.loss is not None), None)
    out: list[tuple[str, str]] = [("loss ", "dim"), (figures.number(last.loss), "text")] if last else []
    scored = next((kept for kept in reversed(run.figures.values()) if kept.score is not None), None)
    if scored:
        out += [(" R2 ", "dim"), (figures.score(scored.score), "text")]
    return out


class MetricStrip(Pane):
    """Error, R2, bytes a round and responders, each with its small chart of one style."""

    BORDERED = False
    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "strip")

    def paint(self, width: int, height: int) -> list[Line]:
        run = self.desk.store.run
        pieces = parts(run) if run else []
        if not pieces:
            return [[(" No figures yet.", "faint")]]
        fixed = sum(len(name) + len(text) + 2 for name, text, _, _ in pieces) + 2 * (len(pieces) - 1) + 1
        spark_cells = max(0, min(24, (width - fixed) // len(pieces)))
        shown = [
            [(f"{name} ", "dim"), (f"{text} ", "text"), (_chart(name, values, spark_cells), tone)]
            for name, text, values, tone in pieces
        ]
        while len(shown) > 1 and line_width(join(shown)) + 1 > width:
            shown.pop()
        return [[(" ", "text"), *join(shown)]]


def _chart(name: str, values: list[float | None], cells: int) -> str:
    """Responders on a scale from none to all, everything else on its own."""
    return figures.spark(values, cells, reach=(0.0, 1.0) if name == "resp" else None).ljust(cells)


def parts(run: Run) -> list[tuple[str, str, list[float | None], str]]:
    """(name, last value, values, tone) of each metric that there is."""
    kept = [*run.figures.values()]
    errors = [figure.error for figure in kept]
    losses = [figure.loss for figure in kept]
    scores = [figure.score for figure in kept]
    sizes = [None if figure.bytes is None else float(figure.bytes) for figure in kept]
    shares = [figure.share for figure in kept]
    out: list[tuple[str, str, list[float | None], str]] = []
    if (error := _last(errors)) is not None:
        out.append(("rmse", figures.number(error), errors, "accent"))
    elif (last_loss := _last(losses)) is not None:
        out.append(("loss", figures.number(last_loss), losses, "accent"))
    if (score := _last(scores)) is not None:
        out.append(("R2", figures.score(score), scores, "info"))
    if (size := _last(sizes)) is not None:
        number, _, unit = figures.size(size).partition(" ")
        out.append((f"{unit}/r", number, sizes, "violet"))
    if (share := _last(shares)) is not None:
        out.append(("resp", figures.percent(share), shares, "good"))
    return out


def _last(values: list[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)
