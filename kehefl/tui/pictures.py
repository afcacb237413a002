"""Where there is nothing to show yet, or something stands in the way: a picture that says what is so and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from kehefl.tui.desk import Desk
from kehefl.tui.figures import span
from kehefl.tui.lines import Line, line_width
from kehefl.tui.text import clean, wrap


@dataclass(frozen=True, slots=True)
class Picture:
    """A sign, a title, sentences, and lines to type."""

    sign: str
    title: str
    tone: str
    sentences: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def of(desk: Desk) -> Picture | None:
    """The picture that takes the place of the device table; None when there are devices to show."""
    if desk.fault:
        return Picture("✗", "kehefl could not start", "bad", (desk.fault,), ("q   leave",))
    if desk.stopping:
        return Picture("◌", "stopping", "warn", (desk.stopping, "Press q again to leave without waiting."))
    if desk.starting:
        return Picture("◌", "starting", "dim", (desk.starting,))
    if desk.store.devices:
        return None
    return _without_devices(desk)


def _without_devices(desk: Desk) -> Picture:
    link = desk.store.link
    at = link.broker or "the broker"
    why = (clean(link.reason),) if link.reason else ()
    if link.state == "unknown":
        return Picture("◌", "starting", "dim", ("Waiting for the first word of the server core.",))
    if link.state == "connecting":
        return Picture("◌", f"connecting to {at}", "warn", (f"Attempt {max(1, link.attempt)}.", *why))
    if link.state == "refused":
        check = "Commands still answer. What this broker allows:"
        return Picture(
            "⊘", f"{at} refused the connection", "bad", (*why, check), (f"kehefl broker check {link.broker}",)
        )
    if link.state == "closed":
        return Picture("○", "the connection is closed", "dim", (*why, "Commands still answer; q leaves."))
    if link.state == "lost":
        title = f"lost {at}" if link.ever_up else f"no broker at {at}"
        advice = () if link.ever_up else ("Is a broker running there? kehefl can start one for development:",)
        commands = () if link.ever_up else ("kehefl broker start",)
        return Picture("✗", title, "bad", (*why, retry(desk), *advice), commands)
    broker = f" --broker {link.broker}" if link.broker else " --broker mqtt://HOST:1883"
    return Picture(
        "○",
        "no devices yet",
        "info",
        ("They appear here as soon as they connect. On each device, type:",),
        (f"kehefl-device pi-01{broker} --dataset homes --client 1",),
    )


def retry(desk: Desk) -> str:
    """The countdown to the next attempt."""
    link = desk.store.link
    attempt = f" (attempt {link.attempt})" if link.attempt else ""
    if link.retry_at is None:
        return f"Trying again{attempt}."
    left = max(0, round(link.retry_at - desk.now))
    return f"Next attempt{attempt} in {left} s." if left else f"Trying now{attempt}."


def banner(desk: Desk) -> tuple[str, str, str] | None:
    """(sign, sentence, tone) above the rounds, when the run does not simply proceed."""
    store = desk.store
    run, current = store.run, store.round
    if store.waiting and (run is None or run.is_open):
        return "◌", f"waiting for devices: {store.waiting}", "warn"
    if run is None:
        return None
    if run.status == "paused":
        left = ""
        if current is not None and current.closed_at is None:
            left = f"; the deadline stands still with {span(max(0.0, current.deadline_left_s))} left"
        return "‖", f"paused{left}. p resumes", "warn"
    if run.status in {"failed", "aborted", "interrupted"}:
        sign = {"failed": "✗", "aborted": "⊘"}.get(run.status, "◌")
        # Some reasons begin with the word themselves: "aborted by the operator".
        told = run.reason if run.reason.startswith(run.status) else f"{run.status}: {run.reason}".removesuffix(": ")
        return sign, f"run {told}", "bad" if run.status == "failed" else "warn"
    return None


def broken(command: str, width: int) -> list[str]:
    """A shell command in lines of at most `width`, to be copied whole: all but the last end with a backslash."""
    command = clean(command)
    if len(command) <= width:
        return [command]
    lines: list[str] = []
    for part in command.split(" --"):
        option = f"--{part}" if lines else part
        if lines and len(lines[-1]) + 1 + len(option) <= width - 2:
            lines[-1] += " " + option
        else:
            lines.append(("  " if lines else "") + option)
    return [line + (" \\" if i < len(lines) - 1 else "") for i, line in enumerate(lines)]


def paint(picture: Picture, width: int, height: int) -> list[Line]:
    """The picture in the middle of `width` x `height`; sentences are wrapped, commands stand alone."""
    measure = max(10, min(width - 2, 72))
    lines: list[Line] = [[(picture.sign + "  ", picture.tone), (picture.title, "*" + picture.tone)], ()]
    if line_width(lines[0]) > width:
        lines[:1] = [[(line, "*" + picture.tone)] for line in wrap(f"{picture.sign} {picture.title}", measure)]
    for sentence in picture.sentences:
        lines += [[(line, "text")] for line in wrap(sentence, measure)]
    if picture.commands:
        lines.append(())
    for command in picture.commands:
        parts = broken(command, width)
        block = max(len(part) for part in parts)
        lines += [[(part.ljust(block), "*accent")] for part in parts]
    if len(lines) > height:
        lines = [line for line in lines if line]
    top = max(0, (height - len(lines)) // 2)
    centred: list[Line] = [
        [(" " * max(0, (width - line_width(line)) // 2), "text"), *line] if line else () for line in lines
    ]
    return [()] * top + centred
