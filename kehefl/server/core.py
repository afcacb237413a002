"""`kehefl.Server`: the server core. Console, headless server, control client and tests all drive this one."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kehefl.errors import BrokerError, KeheflError, RefusedError
from kehefl.federation.strategies import Strategy
from kehefl.models.base import Model
from kehefl.models.load import load_models
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import ServerStatus
from kehefl.protocol.topics import DEFAULT_FEDERATION, DEFAULT_PREFIX, Topics
from kehefl.server.announcer import Announcer
from kehefl.server.checkpoints import Checkpoints
from kehefl.server.coordinator import Coordinator
from kehefl.server.events import LinkChanged, Notice, ServerTelemetry, Stamped
from kehefl.server.intake import Intake
from kehefl.server.presence import Presence
from kehefl.server.registry import Registry
from kehefl.server.result import Result, summarise
from kehefl.server.runlog import RunLog
from kehefl.server.state import default_state
from kehefl.server.stream import EventStream
from kehefl.server.verbs import Verbs
from kehefl.telemetry.process import CpuShare, read_process
from kehefl.transport.address import BrokerAddress
from kehefl.transport.broker import BrokerHandle, obtain_broker
from kehefl.transport.link import Inbound, Link, LinkState, LinkStatus, Will

START_LIMIT_S: Final = 6.0
TICK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a started server consists of."""

    address: BrokerAddress
    link: Link
    log: RunLog
    stream: EventStream
    registry: Registry
    checkpoints: Checkpoints
    coordinator: Coordinator
    presence: Presence
    verbs: Verbs
    intake: Intake


class Server:
    """The server of one federation: registry, runs, commands and the event stream, on one MQTT link.

    `broker` is a URL, an address, or a broker obtained before; without it the broker ladder decides. `state` is the
    directory of the run log and the checkpoints. `models` and `strategies` are the user's own, as objects (or, for
    models, `module:Class`). A `patient` server starts without its broker and keeps trying, as a console wants it; an
    `ephemeral` one clears what its federation left at the broker when it stops.

    `async with` starts and stops it: BrokerError or RefusedError say why it cannot start.
    """

    def __init__(
        self,
        *,
        broker: str | BrokerAddress | BrokerHandle | None = None,
        federation: str = DEFAULT_FEDERATION,
        prefix: str = DEFAULT_PREFIX,
        state: str | Path | None = None,
        models: Sequence[str | Model] = (),
        strategies: Sequence[Strategy] = (),
        patient: bool = False,
        ephemeral: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.topics = Topics(federation, prefix)
        self.state = Path(state) if state is not None else default_state()
        self._broker = broker
        self._patient = patient
        self._ephemeral = ephemeral
        self._boot = secrets.token_hex(8)
        self._clock = clock
        self._models = load_models(models)
        self._strategies = {strategy.name: strategy for strategy in strategies}
        self._cpu = CpuShare()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()
        self._refusal: KeheflError | None = None
        self._handle: BrokerHandle | None = None
        self._started: _Parts | None = None

    # Life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        log = RunLog(self.state, self.topics.federation)
        try:
            self._started = self._assemble(log, await self._find_broker())
            self._tell_what_was_found()
            self._own(self._keep_link())
            self._own(self._tick())
            if not self._patient:
                await self._wait_ready()
        except BaseException:
            await self._stop()
            log.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _find_broker(self) -> BrokerAddress:
        if isinstance(self._broker, BrokerAddress):
            return self._broker
        if isinstance(self._broker, BrokerHandle):
            return self._broker.address
        self._handle = await obtain_broker(self._broker, state_dir=self.state)
        return self._handle.address

    def _assemble(self, log: RunLog, address: BrokerAddress) -> _Parts:
        stream = EventStream(log, self._clock)
        registry = Registry()
        link = self._make_link(address)
        checkpoints = Checkpoints(self.state)
        coordinator = Coordinator(
            announcer=Announcer(link, self.topics, self._boot, self._own),
            registry=registry,
            stream=stream,
            checkpoints=checkpoints,
            models=self._models,
            strategies=self._strategies,
            own=self._own,
            boot=self._boot,
        )
        presence = Presence(link, self.topics, self._boot)
        verbs = Verbs(
            coordinator=coordinator,
            registry=registry,
            stream=stream,
            log=log,
            link=link,
            topics=self.topics,
            boot=self._boot,
            state=self.state,
        )
        intake = Intake(
            link=link,
            topics=self.topics,
            registry=registry,
            coordinator=coordinator,
            presence=presence,
            verbs=verbs,
            stream=stream,
            own=self._own,
        )
        return _Parts(address, link, log, stream, registry, checkpoints, coordinator, presence, verbs, intake)

    async def _stop(self) -> None:
        parts = self._started
        if parts is not None:
            self._suspend_quietly(parts)
            if parts.link.status.state is LinkState.UP and self._refusal is None:
                await self._say_goodbye(parts)
            await parts.link.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._handle is not None:
            await self._handle.stop()
        if parts is not None:
            parts.stream.flush()
            parts.log.close()

    def _suspend_quietly(self, parts: _Parts) -> None:
        try:
            self.suspend("the server was stopped")
        except KeheflError as error:
            # The next start finds the run all the same: nobody lives who could have ended it.
            parts.stream.emit(Notice(level="error", text=str(error)))

    async def _say_goodbye(self, parts: _Parts) -> None:
        leftovers = [self.topics.device_status(device) for device in parts.registry.states()] if self._ephemeral else []
        try:
            await parts.presence.leave(leftovers)
        except BrokerError as error:
            parts.stream.emit(Notice(level="warning", text=f"The broker was not told that the server stops: {error}"))

    @property
    def _parts(self) -> _Parts:
        if self._started is None:
            raise RefusedError("The server has not been started. Use it with: async with kehefl.Server(...) as server")
        return self._started

    # What faces use ------------------------------------------------------------------------------------------------

    @property
    def broker_url(self) -> str:
        """Where devices find the broker, without its password."""
        return self._parts.address.url

    def subscribe(self, callback: Callable[[Stamped], None]) -> Callable[[], None]:
        """Call `callback` with every event from now on; returns what ends that."""
        return self._parts.stream.subscribe(callback)

    def snapshot(self) -> tuple[Stamped, ...]:
        """Events that bring a newcomer up to date; what follows comes by `subscribe`."""
        return self._parts.stream.snapshot()

    def known(self, kind: str) -> Collection[str]:
        """Names for completion: `devices`, `run`."""
        if kind == "devices":
            return sorted(self._parts.registry.states())
        return [row.run for row in self._parts.log.runs()] if kind == "run" else []

    async def submit(self, line: str, *, origin: str = "console", marked: Collection[str] = ()) -> str:
        """Carry out one command; `run start` is done as soon as the run began. Returns what to tell the operator.

        Raises UsageError for a line that cannot be meant, RefusedError for one that cannot be carried out now.
        """
        return await self._parts.verbs.carry_out(line, origin=origin, marked=marked)

    async def execute(self, line: str) -> str | Result:
        """Carry out one command to its end. A command that starts or resumes a run returns the run's Result, whatever
        its status; every other one the text for the operator. Raises as `submit` does."""
        text = await self.submit(line, origin="library")
        run = self._parts.coordinator.run
        if run is None or line.split()[:2] not in (["run", "start"], ["run", "resume"]):
            return text
        await self.finished()
        return self.result(run.run)

    async def finished(self) -> None:
        """Until no run is going on."""
        await self._parts.coordinator.idle.wait()

    def result(self, run: str) -> Result:
        """The summary of a recorded run. DataError if there is none of that id."""
        parts = self._parts
        parts.stream.flush()
        row = parts.log.run(run)
        return summarise(parts.log.events(row.run), status=row.status)

    def suspend(self, reason: str) -> None:
        """Stop a run that is going on without ending it: `run resume` takes it up again. Devices are told to stop."""
        coordinator = self._parts.coordinator
        if coordinator.run is not None and coordinator.run.machine.phase != "ended":
            coordinator.interrupt(reason)

    def devices_ended(self, reason: str) -> None:
        """Whoever started devices for this server says that they are gone: a run ends with that reason."""
        self._parts.stream.emit(Notice(level="error", text=reason))
        self._parts.coordinator.fail(reason)

    # Link ----------------------------------------------------------------------------------------------------------

    def _make_link(self, address: BrokerAddress) -> Link:
        topics = self.topics
        return Link(
            address,
            # The boot is part of the name: a second server must be able to ask before it takes anything over.
            f"kehefl-server-{self._boot}",
            on_message=self._on_message,
            subscriptions=[
                (topics.any_device + "status", 1),
                (topics.any_device + "telemetry", 0),
                (topics.any_device + "reply/+", 1),
                (topics.any_device + "up/+/+/+", 1),
                (topics.server_status, 1),
                (topics.round, 1),
                (topics.control_request, 1),
                (topics.control_reply(self._boot), 1),
            ],
            will=Will(topics.server_status, encode(ServerStatus(boot=self._boot, state="lost"))),
            on_up=self._on_up,
            on_status=self._on_link,
            # A name that never comes back must not leave a session for the broker to fill. What is missed while the
            # link is down is asked for again.
            persistent=False,
        )

    async def _keep_link(self) -> None:
        try:
            await self._parts.link.run()
        except BrokerError as error:
            self._refusal = self._refusal or error
        self._ready.set()

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._ready.wait()
        except TimeoutError:
            reason = self._parts.link.status.reason
            raise BrokerError(
                f"No broker answers at {self._parts.address.url}{': ' + reason if reason else ''}. Start one (kehefl "
                "broker start), or name another with --broker."
            ) from None
        if self._refusal is not None:
            raise self._refusal

    async def _on_up(self) -> None:
        parts = self._parts
        try:
            await parts.presence.claim()
        except RefusedError as error:
            self._refusal = error
            parts.stream.emit(self._link_event(parts.link.status, state="refused", reason=str(error)))
            self._own(parts.link.close())
            return
        parts.coordinator.link_up()
        self._ready.set()

    def _on_message(self, inbound: Inbound) -> None:
        self._parts.intake.take(inbound)

    def _on_link(self, status: LinkStatus) -> None:
        if self._refusal is None:
            self._parts.stream.emit(self._link_event(status))

    def _link_event(self, status: LinkStatus, *, state: str = "", reason: str = "") -> LinkChanged:
        handle = self._broker if isinstance(self._broker, BrokerHandle) else self._handle
        return LinkChanged(
            state=state or status.state.value,  # type: ignore[arg-type]
            broker=self._parts.address.url,
            broker_kind=handle.kind if handle else "given",
            reason=reason or status.reason,
            attempt=status.attempt,
            retry_in_s=status.retry_in_s,
            ever_up=status.ever_up,
            mqtt=status.mqtt,
        )

    # Upkeep --------------------------------------------------------------------------------------------------------

    def _tell_what_was_found(self) -> None:
        parts = self._parts
        torn = parts.checkpoints.sweep()
        if torn:
            parts.stream.emit(
                Notice(level="warning", text=f"Removed {torn} half-written checkpoints of a killed server.")
            )
        for row in parts.log.adopt_interrupted():
            text = (
                f"Run {row.run} was interrupted after round {row.rounds_completed} of {row.rounds}. Go on with: "
                f"run resume {row.run}"
            )
            parts.stream.emit(Notice(level="warning", text=text))
        handle = self._broker if isinstance(self._broker, BrokerHandle) else self._handle
        if handle is not None:
            parts.stream.emit(Notice(level="info", text=handle.description))

    async def _tick(self) -> None:
        """Batch commits, the server's own telemetry, and the rejections that were only counted."""
        parts = self._parts
        while True:
            await asyncio.sleep(TICK_S)
            reading, traffic = read_process(), parts.link.counter.snapshot()
            parts.stream.emit(
                ServerTelemetry(
                    cpu_percent=self._cpu.percent(),
                    cpu_s=reading.cpu_s,
                    rss_mib=reading.rss_mib,
                    peak_rss_mib=reading.peak_rss_mib,
                    sent_bytes=traffic.sent_packet_bytes,
                    received_bytes=traffic.received_packet_bytes,
                )
            )
            parts.intake.tell_unshown()
            parts.stream.flush()

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of this server; a fault of it is told, not swallowed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._parts.stream.emit(Notice(level="error", text=f"Internal error: {type(error).__name__}: {error}"))
