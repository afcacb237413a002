"""One device: state and why, hardware, data, its small charts, its rounds, its log."""

from __future__ import annotations

from typing import Final

from kehefl.tui import figures
from kehefl.tui.desk import Desk
from kehefl.tui.glyphs import ANSWER, device_state
from kehefl.tui.lines import Line
from kehefl.tui.panes.events import told
from kehefl.tui.panes.pages import Page
from kehefl.tui.records import Device, DeviceRound
from kehefl.tui.text import fit, wrap

NAME_CELLS: Final = 9
SPARK_CELLS: Final = 40
ROUNDS_SHOWN: Final = 12


class DetailPage(Page):
    """Everything the events told of the device."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "detail")
        self.device = ""

    def body(self, width: int) -> list[Line]:
        device = self.desk.store.devices.get(self.device)
        if device is None:
            return [(), [("This device is not known any more. Esc goes back.", "dim")]]
        lines = self._state(device, width)
        lines += self._birth(device, width)
        lines += self._readings(device, width)
        lines += [(), *rounds(device)]
        lines += [(), [("Log", "title")]]
        log = [line for entry in device.log for line in told(entry, width)]
        return lines + (log or [[("Nothing yet.", "dim")]])

    def _state(self, device: Device, width: int) -> list[Line]:
        glyph, word, tone = device_state(device)
        now = self.desk.now
        seen = figures.age(None if device.seen_at is None else now - device.seen_at)
        line: Line = [
            (f"{glyph} {word}", "*" + tone),
            (f"  for {figures.span(max(0.0, now - device.since))}", "dim"),
            ("   last heard ", "dim"),
            (seen, "warn" if seen.endswith("!") else "text"),
        ]
        return [line, *_named("why", device.reason, width, tone)] if device.reason else [line]

    def _birth(self, device: Device, width: int) -> list[Line]:
        birth = device.birth
        if birth is None:
            return []
        runs_on = [birth.board, birth.process, birth.software, "simulated" if birth.simulated else ""]
        lines = [(), *_named("hardware", ", ".join(part for part in runs_on if part), width)]
        rows = f"{birth.rows_train} rows to train on, {birth.rows_test} to test on"
        source = f" from {birth.source}" if birth.source else ""
        lines += _named("data", rows + source, width)
        if birth.features:
            target = f" → {birth.target}" if birth.target else ""
            lines += _named("columns", ", ".join(birth.features) + target, width)
        if birth.data_digest:
            lines += _named("digest", birth.data_digest, width, "dim")
        for note in birth.notes:
            lines += _named("note", note, width, "warn")
        return lines

    def _readings(self, device: Device, width: int) -> list[Line]:
        lines: list[Line] = [()]
        reading = device.reading
        cells = max(0, min(SPARK_CELLS, width - NAME_CELLS - 30))
        if reading is not None:
            peak = f"peak {figures.mib(reading.peak_rss_mib)}"
            used = f"{figures.seconds(reading.cpu_s)} used"
            lines.append(_chart("cpu", figures.cpu(reading.cpu_percent), [*device.cpu], cells, "accent", after=used))
            lines.append(_chart("memory", figures.mib(reading.rss_mib), [*device.memory], cells, "info", after=peak))
        if device.losses:
            lines.append(_chart("loss", figures.number(device.losses[-1]), [*device.losses], cells, "violet"))
        if device.metrics:
            text = "  ".join(f"{name} {figures.number(value)}" for name, value in device.metrics.items())
            lines += _named("tested", text, width)
        if reading is not None:
            sent, received = figures.size(reading.sent_bytes), figures.size(reading.received_bytes)
            heat = "" if reading.temperature_c is None else f", {reading.temperature_c:.0f} °C"
            lines += _named("network", f"sent {sent}, received {received} since its start{heat}", width)
        return lines


def rounds(device: Device) -> list[Line]:
    """The last rounds of a device, newest first."""
    heads = ("round", "answer", "after", "download", "train", "bytes", "loss")
    cells = (7, 9, 7, 8, 7, 8, 7)
    head = "  ".join(fit(h, c, right=i > 1) for i, (h, c) in enumerate(zip(heads, cells, strict=True)))
    lines: list[Line] = [[("Rounds", "title")], [(head, "dim")]]
    for done in list(device.rounds)[::-1][:ROUNDS_SHOWN]:
        lines.append(answer(done, cells))
    return lines if device.rounds else [[("Rounds", "title")], [("None yet.", "dim")]]


def answer(done: DeviceRound, cells: tuple[int, ...]) -> Line:
    name = {"statistics": "stats", "evaluate": "eval"}.get(done.task, f"r{done.round}")
    if done.attempt > 1:
        name += f"·{done.attempt}"
    glyph, word, tone = ANSWER[done.answer]
    values = (
        figures.seconds(done.after_s),
        figures.seconds(done.download_s),
        figures.seconds(done.train_s),
        figures.size(done.payload_bytes),
        figures.number(done.loss),
    )
    line: list[tuple[str, str]] = [
        (fit(name, cells[0]), "text"),
        ("  ", "text"),
        (fit(f"{glyph} {word}", cells[1]), tone),
    ]
    for value, room in zip(values, cells[2:], strict=True):
        line += [("  ", "text"), (fit(value, room, right=True), "dim" if value == figures.NONE else "text")]
    return [*line, (f"  {done.reason}", "warn")] if done.reason else line


def _named(name: str, text: str, width: int, tone: str = "text") -> list[Line]:
    return [
        [(fit(name if i == 0 else "", NAME_CELLS), "dim"), (line, tone)]
        for i, line in enumerate(wrap(text, max(10, width - NAME_CELLS)))
    ]


def _chart(name: str, value: str, values: list[float], cells: int, tone: str, *, after: str = "") -> Line:
    drawn = figures.spark(values, cells)
    return [(fit(name, NAME_CELLS), "dim"), (fit(value, 8), "text"), (drawn.ljust(cells), tone), ("  " + after, "dim")]
