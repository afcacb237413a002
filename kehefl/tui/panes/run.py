"""The run: what it was started with, how far it is, what it cost so far."""

from __future__ import annotations

from kehefl.tui import figures
from kehefl.tui.desk import Desk
from kehefl.tui.glyphs import RUN, SCENARIO
from kehefl.tui.lines import Line
from kehefl.tui.pane import Scroller
from kehefl.tui.records import Run
from kehefl.tui.text import wrap

#: Settings in the order in which people ask for them; the others follow.
_FIRST = ("model", "strategy", "local_epochs", "batch_size", "learning_rate", "quorum", "deadline", "attempts", "seed")


class RunCard(Scroller):
    """Settings in columns, then figures."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "run")

    def number(self) -> str:
        return "5"

    def title(self) -> Line:
        run = self.desk.store.run
        return [("Run", "title"), *([("  " + run.name, "dim")] if run else [])]

    def body(self, width: int) -> list[Line]:
        run = self.desk.store.run
        server = self.desk.store.server
        lines: list[Line] = []
        if run is None:
            lines.append([("No run yet. s starts one.", "dim")])
        else:
            lines += _state(run, self.desk.now, width)
            lines.append(())
            pairs = [*self._traffic(run), *settings(run)]
            lines += _columns(pairs, width)
        if run is not None and run.devices_cpu_s is not None:
            moved = f"sent {figures.size(run.devices_sent)}, received {figures.size(run.devices_received)}"
            lines.append([("devices ", "dim"), (f"{figures.seconds(run.devices_cpu_s)} of CPU, {moved}", "text")])
            if run.silent:
                lines += [[(line, "warn")] for line in wrap("not measured: " + ", ".join(run.silent), width)]
        if server.reading is not None:
            r = server.reading
            process = f"{figures.cpu(r.cpu_percent)}, {figures.mib(r.rss_mib)}, {figures.seconds(r.cpu_s)} of CPU"
            lines.append([("server  ", "dim"), (process, "text")])
        if server.rejected:
            text = f"{server.rejected} messages rejected; the last: {server.rejected_reason}"
            lines += [[(line, "warn")] for line in wrap(text, width)]
        if run is not None and run.model_path:
            lines += [[("model   " if i == 0 else "        ", "dim"), (line, "text")]
                      for i, line in enumerate(wrap(run.model_path, max(8, width - 8)))]  # fmt: skip
        return lines

    def _traffic(self, run: Run) -> list[tuple[str, str]]:
        return [("received", figures.size(run.received_bytes)), ("sent", figures.size(run.sent_bytes))]


def settings(run: Run) -> list[tuple[str, str]]:
    """The settings as they read on a command line."""
    names = [name for name in _FIRST if name in run.settings]
    names += [name for name in run.settings if name not in names and name != "rounds"]
    return [(name, _value(run.settings[name])) for name in names]


def _value(value: str | float | bool | None) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return figures.NONE if value is None else str(value)


def _state(run: Run, now: float, width: int) -> list[Line]:
    glyph, word, tone = RUN.get(run.status, ("?", run.status, "warn"))
    lasted = (now if run.is_open else run.changed_at) - run.started_at
    scenario = SCENARIO.get(run.scenario, run.scenario)
    lines: list[Line] = [
        [
            (f"{glyph} {word}", tone),
            (f"  {scenario}  ", "text"),
            (f"{run.completed}/{run.rounds} rounds", "text"),
            (f"  {figures.seconds(max(0.0, lasted))}", "dim"),
        ]
    ]
    if run.reason:
        lines += [[(line, tone)] for line in wrap(run.reason, width)]
    if run.metrics:
        text = "  ".join(f"{name} {figures.number(value)}" for name, value in run.metrics.items())
        lines += [[(line, "good")] for line in wrap(text, width)]
    return lines


def _columns(pairs: list[tuple[str, str]], width: int) -> list[Line]:
    """Name and value in as many columns as there is room for, filled row by row."""
    if not pairs:
        return []
    name_cells = max(len(name) for name, _ in pairs)
    value_cells = max(6, min(16, max(len(value) for _, value in pairs)))
    count = max(1, (width + 3) // (name_cells + value_cells + 4))
    lines: list[Line] = []
    for start in range(0, len(pairs), count):
        line: list[tuple[str, str]] = []
        for name, value in pairs[start : start + count]:
            line += [(f"{name:<{name_cells}} ", "dim"), (f"{value:<{value_cells}}   ", "text")]
        lines.append(line)
    return lines
