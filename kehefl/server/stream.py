"""The event stream of the server core: numbers events, records them, hands them to faces, informs newcomers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kehefl.errors import KeheflError
from kehefl.server.events import (
    AnyEvent,
    CommandChanged,
    DeviceChanged,
    DeviceTelemetry,
    LinkChanged,
    MessageRejected,
    Notice,
    RoundPhase,
    RunChanged,
    RunStarted,
    ServerTelemetry,
    Stamped,
    UpdateReceived,
)
from kehefl.server.runlog import RunLog

Subscriber = Callable[[Stamped], None]

#: What a newcomer is told of the past beside the present state: the newest of these many events.
REMEMBERED: Final = 2000


class EventStream:
    """Events in one order for everyone. `clock` gives Unix seconds."""

    def __init__(self, log: RunLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._seq = 0
        self._run = ""
        self._subscribers: list[Subscriber] = []
        #: The newest event of each kind about each thing: enough to draw the present.
        self._present: dict[tuple[str, str], Stamped] = {}
        self._past: list[Stamped] = []
        self._write_error = ""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every event from now on; returns what ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber) if subscriber in self._subscribers else None

    def snapshot(self) -> tuple[Stamped, ...]:
        """Events, in order, that bring a newcomer up to date."""
        return tuple(sorted([*self._present.values(), *self._past], key=lambda stamped: stamped.seq))

    def emit(self, event: AnyEvent, *, durable: bool = False) -> None:
        """Publish an event. A durable one is on disk before anyone hears of it; KeheflError when it cannot be."""
        self._seq += 1
        stamped = Stamped(self._seq, self._clock(), event)
        if isinstance(event, RunStarted):
            self._begin_run(event.run)
        self._log.append(self._run, stamped)
        if durable:
            self._log.flush()
        self._remember(stamped)
        for subscriber in tuple(self._subscribers):
            subscriber(stamped)
        if isinstance(event, RunChanged) and event.status not in {"running", "paused"}:
            self._run = ""

    def flush(self) -> None:
        """Write what waits. A disk that does not take it is told once; the events are kept for the next try."""
        try:
            self._log.flush()
            self._write_error = ""
        except KeheflError as error:
            if str(error) != self._write_error:
                self._write_error = str(error)
                self.emit(Notice(level="error", text=str(error)))

    def _begin_run(self, run: str) -> None:
        self._run = run
        self._past = [stamped for stamped in self._past if isinstance(stamped.event, Notice)][-50:]
        # A recorded run begins with the devices that were there, so that it can be replayed by itself.
        for stamped in sorted(self._present.values(), key=lambda known: known.seq):
            if isinstance(stamped.event, LinkChanged | DeviceChanged):
                self._log.append(run, stamped)

    def _remember(self, stamped: Stamped) -> None:
        event = stamped.event
        kind = type(event).__name__
        match event:
            case DeviceChanged() | DeviceTelemetry():
                self._present[kind, event.device] = stamped
            case LinkChanged() | ServerTelemetry() | RunStarted() | RunChanged() | RoundPhase() | MessageRejected():
                self._present[kind, ""] = stamped
            case UpdateReceived():
                self._present[kind, event.device] = stamped
            case CommandChanged():
                self._present[kind, str(event.command % 50)] = stamped
            case _:
                self._past.append(stamped)
                if len(self._past) > 2 * REMEMBERED:
                    del self._past[:REMEMBERED]
