"""The federation as plain text, from the events alone: for scripts, mails and terminals that can draw nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kehefl.server.events import Stamped
from kehefl.tui import columns, figures, view
from kehefl.tui.glyphs import LINK, RUN, SCENARIO, round_name
from kehefl.tui.records import Run
from kehefl.tui.store import GONE, Store, reduce
from kehefl.tui.text import clean

WIDTH: Final = 100
ROUNDS_SHOWN: Final = 10
LOG_SHOWN: Final = 5


def picture(stream: Iterable[Stamped]) -> str:
    """Status, devices, rounds and the last lines of the log, as of the last event."""
    store = Store()
    for stamped in stream:
        reduce(store, stamped)
    lines = [*_status(store), "", *_devices(store)]
    if store.rounds:
        lines += ["", *_rounds(store)]
    if store.log:
        lines += ["", *(f"[{line.tag}] {line.text}" for line in list(store.log)[-LOG_SHOWN:])]
    return "\n".join(clean(line).rstrip() for line in lines)


def is_settled(stream: Iterable[Stamped]) -> bool:
    """Whether there is something to show: a device, or a broker that is not to be had."""
    store = Store()
    for stamped in stream:
        reduce(store, stamped)
    return bool(store.devices) or store.link.state in {"lost", "refused", "closed"}


def _status(store: Store) -> list[str]:
    link = store.link
    glyph, word, _ = LINK[link.state]
    why = f": {link.reason}" if link.reason else ""
    lines = [f"{glyph} broker {word}  {link.broker}{why}"]
    run = store.run
    if run is None:
        return [*lines, "no run"]
    sign, status, _ = RUN.get(run.status, ("?", run.status, ""))
    reason = f": {run.reason}" if run.reason else ""
    scenario = SCENARIO.get(run.scenario, run.scenario)
    lines.append(f"{sign} {run.name}  {scenario}  {status}  {run.completed}/{run.rounds} rounds{reason}")
    return lines + _metrics(run)


def _metrics(run: Run) -> list[str]:
    last = next(iter([*run.figures.values()][::-1]), None)
    if last is None:
        return []
    values = (
        ("loss", figures.number(last.loss)),
        ("rmse", figures.number(last.error)),
        ("R2", figures.score(last.score)),
        ("bytes a round", figures.size(last.bytes)),
        ("responders", figures.percent(last.share)),
    )
    return ["  " + "  ".join(f"{name} {value}" for name, value in values if value != figures.NONE)]


def _devices(store: Store) -> list[str]:
    if not store.devices:
        broker = f" --broker {store.link.broker}" if store.link.broker else ""
        return ["no devices yet. On each device:", f"  kehefl-device pi-01{broker} --dataset homes --client 1"]
    here = sum(1 for device in store.devices.values() if device.state not in GONE)
    fitted = columns.fit_columns(WIDTH, store.devices)
    lines = [f"devices {here}/{len(store.devices)}", "".join(text for text, _ in columns.header(fitted, ""))]
    for device in view.arrange(store.devices.values(), "", "device", descending=False):
        cells = columns.row(device, fitted, store.last_at, is_marked=False)
        lines.append("".join(text for text, _ in cells))
    return lines


def _rounds(store: Store) -> list[str]:
    lines = ["rounds"]
    for round_ in [*store.rounds.values()][-ROUNDS_SHOWN:]:
        state = round_.outcome or round_.phase
        missing = f", {len(round_.missing)} missing" if round_.missing else ""
        took = f" in {figures.seconds(round_.wall_s)}" if round_.closed_at is not None else ""
        lines.append(f"  {round_name(round_):<7} {state}{took}, {round_.responded} of {round_.cohort}{missing}")
    return lines
