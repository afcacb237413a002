"""Events of the server core as lines for a log."""

from __future__ import annotations

from datetime import datetime

from kehefl.server.events import (
    CommandChanged,
    DeviceChanged,
    DeviceRefused,
    LinkChanged,
    MessageRejected,
    Notice,
    RoundClosed,
    RoundEvaluated,
    RoundOpened,
    RunChanged,
    RunStarted,
    Stamped,
)


def describe_event(stamped: Stamped) -> str:
    """One line, or nothing for events that are too many to be read."""
    text = _text(stamped)
    return f"{datetime.fromtimestamp(stamped.at):%H:%M:%S} {printable(text)}" if text else ""


def printable(text: str) -> str:
    """The text without control characters: what a device sends must not steer a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _text(stamped: Stamped) -> str:
    match stamped.event:
        case Notice(text=text):
            return text
        case LinkChanged() as link:
            return f"broker {link.broker}: {link.state}{' (' + link.reason + ')' if link.reason else ''}"
        case DeviceChanged() as device:
            why = f" ({device.reason})" if device.reason else ""
            return f"{device.device} {device.state}{why}, {device.rows_train} rows"
        case RunStarted() as run:
            return f"run {run.run} started: {run.scenario}, {run.rounds} rounds"
        case RunChanged() as run:
            return f"run {run.run} {run.status}{': ' + run.reason if run.reason else ''}"
        case RoundOpened() as opened:
            return f"round {opened.round} opened: {opened.task}, {len(opened.cohort)} devices, {opened.needed} needed"
        case RoundClosed() as closed:
            return (
                f"round {closed.round} {closed.outcome}: {len(closed.responded)}/{closed.cohort_size} devices, "
                f"{1000 * closed.wall_s:.0f} ms{'; missing ' + ', '.join(closed.missing) if closed.missing else ''}"
            )
        case RoundEvaluated() as evaluated:
            return f"model of round {evaluated.round}: " + ", ".join(
                f"{k} {v:.4g}" for k, v in evaluated.metrics.items()
            )
        case DeviceRefused() as refused:
            return f"{refused.device} refused round {refused.round}: {refused.reason}"
        case MessageRejected() as rejected:
            return f"rejected {rejected.topic}: {rejected.reason}"
        case CommandChanged(state="done" | "failed") as command:
            first = command.text.partition("\n")[0]
            return f"{command.origin}: {command.line} -> {command.state} {first}"
        case _:
            return ""
