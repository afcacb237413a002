"""The server core's side of the command table: what each verb does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Final

from kehefl.errors import KeheflError, RefusedError
from kehefl.federation.settings import parse_settings
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import Reply, Request
from kehefl.protocol.topics import Topics
from kehefl.server.commands import Command, parse, select_devices
from kehefl.server.coordinator import Coordinator
from kehefl.server.events import CommandChanged, RoundOpened
from kehefl.server.export import export_run
from kehefl.server.registry import Registry
from kehefl.server.runlog import RunLog
from kehefl.server.stream import EventStream
from kehefl.transport.link import Link

PING_LIMIT_S: Final = 3.0


class Verbs:
    """Carries out commands one after the other, in the order in which they came, whoever typed them."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        registry: Registry,
        stream: EventStream,
        log: RunLog,
        link: Link,
        topics: Topics,
        boot: str,
        state: Path,
    ) -> None:
        self._coordinator = coordinator
        self._registry = registry
        self._stream = stream
        self._log = log
        self._link = link
        self._topics = topics
        self._boot = boot
        self._state = state
        self._number = 0
        self._pings: dict[str, asyncio.Future[float]] = {}
        self._handlers: dict[str, Callable[[Command, Collection[str]], Awaitable[str]]] = {
            "run start": self._run_start,
            "run pause": self._run_pause,
            "run resume": self._run_resume,
            "run abort": self._run_abort,
            "run show": self._run_show,
            "round set": self._round_set,
            "device show": self._device_show,
            "device ping": self._device_ping,
            "device drain": self._device_drain,
            "device readmit": self._device_readmit,
            "device evict": self._device_evict,
            "export": self._export,
            "runs": self._runs,
        }

    async def carry_out(self, line: str, *, origin: str, marked: Collection[str]) -> str:
        """Parse and carry out; pending, done and failed go to the event stream. Raises what the command raised."""
        self._number += 1
        number = self._number
        self._stream.emit(CommandChanged(command=number, line=line, state="pending", origin=origin))
        try:
            command = parse(line)
            handler = self._handlers.get(command.verb.name)
            if handler is None:
                raise RefusedError(f"'{command.verb.name}' belongs to the console; it means nothing to the server.")
            _check_origin(command, origin)
            text = await handler(command, marked)
        except KeheflError as error:
            self._stream.emit(CommandChanged(command=number, line=line, state="failed", text=str(error), origin=origin))
            raise
        self._stream.emit(CommandChanged(command=number, line=line, state="done", text=text, origin=origin))
        return text

    def take_reply(self, reply: Reply) -> None:
        """An answer to a ping."""
        waiting = self._pings.get(reply.correlation)
        if waiting is not None and not waiting.done():
            waiting.set_result(time.monotonic())

    # Runs ----------------------------------------------------------------------------------------------------------

    async def _run_start(self, command: Command, _: Collection[str]) -> str:
        settings = parse_settings(command.options)
        run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self._coordinator.start(run_id, command.targets[0], settings)
        return f"run {run_id} started: {command.targets[0]}, {settings.rounds} rounds"

    async def _run_pause(self, _: Command, __: Collection[str]) -> str:
        return self._coordinator.pause()

    async def _run_resume(self, command: Command, _: Collection[str]) -> str:
        if not command.targets:
            return self._coordinator.resume()
        row = self._log.run(command.targets[0])
        opened = [stamped.event for stamped in self._log.events(row.run) if isinstance(stamped.event, RoundOpened)]
        self._coordinator.resume_recorded(row, opened[-1].cohort if opened else ())
        return f"run {row.run} goes on with round {row.rounds_completed + 1} of {row.rounds}"

    async def _run_abort(self, _: Command, __: Collection[str]) -> str:
        return self._coordinator.abort("aborted by the operator")

    async def _run_show(self, _: Command, __: Collection[str]) -> str:
        run = self._coordinator.run
        if run is None:
            return "no run is going on"
        machine = run.machine
        state = "paused" if machine.paused else machine.phase
        answered = f"{len(machine.responded)} of {len(machine.cohort)} devices answered"
        return f"run {run.run}: round {machine.round} of {run.settings.rounds}, {state}, {answered}"

    async def _round_set(self, command: Command, _: Collection[str]) -> str:
        return self._coordinator.change(command.options)

    async def _runs(self, _: Command, __: Collection[str]) -> str:
        rows = self._log.runs()
        if not rows:
            return "no run has been recorded yet; start one: run start federated"
        return "\n".join(
            f"{row.run}  {row.scenario}  {row.status}  {row.rounds_completed}/{row.rounds}" for row in rows
        )

    async def _export(self, command: Command, _: Collection[str]) -> str:
        self._stream.flush()
        rows = self._log.runs()
        if not rows:
            raise RefusedError("There is no recorded run to export. Start one: run start federated")
        run = command.options.get("run", rows[0].run)
        target = Path(command.targets[1]) if len(command.targets) > 1 else None
        path = await asyncio.to_thread(export_run, self._state, run, command.targets[0], target)
        return f"wrote {path}"

    # Devices -------------------------------------------------------------------------------------------------------

    async def _device_show(self, command: Command, marked: Collection[str]) -> str:
        lines = []
        for name in self._selected(command, marked):
            event = self._registry.event(name)
            why = f" ({event.reason})" if event.reason else ""
            simulated = ", simulated" if event.simulated else ""
            data = f"{event.rows_train} + {event.rows_test} rows of {event.source}{simulated}"
            lines.append(
                f"{name}: {event.state}{why}; {data}; {', '.join(event.features)} -> {event.target}; {event.board}"
            )
        return "\n".join(lines)

    async def _device_ping(self, command: Command, marked: Collection[str]) -> str:
        names = self._selected(command, marked)
        answers = await asyncio.gather(*(self._ping(name) for name in names))
        return "\n".join(answers)

    async def _ping(self, device: str) -> str:
        correlation = secrets.token_hex(8)
        request = Request(correlation=correlation, server=self._boot, verb="ping")
        answer = self._pings[correlation] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        self._link.post(self._topics.command(device, "ping"), encode(request))
        try:
            async with asyncio.timeout(PING_LIMIT_S):
                return f"{device} answered in {1000 * (await answer - began):.0f} ms"
        except TimeoutError:
            return f"{device} did not answer within {PING_LIMIT_S:g} s"
        finally:
            del self._pings[correlation]

    async def _device_drain(self, command: Command, marked: Collection[str]) -> str:
        return self._hold(self._selected(command, marked), "drained", "drained by the operator")

    async def _device_evict(self, command: Command, marked: Collection[str]) -> str:
        names = self._selected(command, marked)
        text = self._hold(names, "evicted", "evicted by the operator")
        for name in names:
            known = self._registry.get(name)
            if known is not None and known.state in {"lost", "leaving"}:
                # Nothing of it is left but its last words at the broker.
                self._link.post(self._topics.device_status(name), b"", retain=True)
                self._registry.forget(name)
        return text

    async def _device_readmit(self, command: Command, marked: Collection[str]) -> str:
        names = self._selected(command, marked)
        for name in names:
            self._registry.hold(name, "")
            self._stream.emit(self._registry.event(name))
            known = self._registry.get(name)
            if known is not None and known.available:
                self._coordinator.device_available(name)
        return f"{', '.join(names)}: readmitted; from the next round on"

    def _hold(self, names: list[str], decision: str, reason: str) -> str:
        for name in names:
            self._registry.hold(name, decision)
            self._stream.emit(self._registry.event(name))
            self._coordinator.device_left(name, reason)
        return f"{', '.join(names)}: {decision}"

    def _selected(self, command: Command, marked: Collection[str]) -> list[str]:
        return select_devices(command.targets, self._registry.states(), marked)


def _check_origin(command: Command, origin: str) -> None:
    """RefusedError for what only an operator at the server's own keyboard may do: name files on its disk."""
    if origin == "ctl" and command.verb.name == "export" and len(command.targets) > 1:
        raise RefusedError("A file on the server cannot be named from elsewhere. Leave it out: export csv")
