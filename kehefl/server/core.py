"""`kehefl.Server`: the server core. Console, headless server, control client and tests all drive this one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kehefl import __version__
from kehefl.errors import BrokerError, KeheflError, ProtocolError, RefusedError
from kehefl.federation.strategies import Strategy
from kehefl.models.base import Model
from kehefl.models.load import load_models
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import (
    ControlReply,
    ControlRequest,
    DeviceStatus,
    Message,
    Reply,
    ServerStatus,
    Telemetry,
    Update,
)
from kehefl.protocol.topics import DEFAULT_FEDERATION, DEFAULT_PREFIX, DeviceTopic, Topics
from kehefl.server.announcer import Announcer
from kehefl.server.checkpoints import Checkpoints
from kehefl.server.coordinator import Coordinator
from kehefl.server.events import (
    DeviceTelemetry,
    LinkChanged,
    MessageRejected,
    Notice,
    ServerTelemetry,
    Stamped,
)
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
#: Another server of the federation that is alive answers within this time.
RIVAL_LIMIT_S: Final = 2.0
#: A flood of bad messages is counted in full, but shown at most this often a tick.
SHOWN_REJECTIONS: Final = 10


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
        self._registry = Registry()
        self._cpu = CpuShare()
        self._rejected = 0
        self._rejected_before_run = 0
        self._shown_rejections = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()
        self._refusal: KeheflError | None = None
        self._rival: ServerStatus | None = None
        self._answers: dict[str, asyncio.Future[ControlReply]] = {}
        self._handle: BrokerHandle | None = None
        self._own_handle = False

    # Life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._log = RunLog(self.state, self.topics.federation)
        self._stream = EventStream(self._log, self._clock)
        try:
            await self._obtain_broker()
            self._checkpoints = Checkpoints(self.state)
            self._link = self._make_link()
            announcer = Announcer(self._link, self.topics, self._boot, self._own)
            self._coordinator = Coordinator(
                announcer=announcer,
                registry=self._registry,
                stream=self._stream,
                checkpoints=self._checkpoints,
                models=self._models,
                strategies=self._strategies,
                own=self._own,
            )
            self._verbs = Verbs(
                self._coordinator,
                self._registry,
                self._stream,
                self._log,
                self._link,
                self.topics,
                self._boot,
                self.state,
            )
            self._tell_what_was_found()
            self._own(self._keep_link())
            self._own(self._tick())
            if not self._patient:
                await self._wait_ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if hasattr(self, "_link"):
            if self._link.status.state is LinkState.UP and self._refusal is None:
                await self._say_goodbye()
            await self._link.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._handle is not None and self._own_handle:
            await self._handle.stop()
        self._log.close()

    async def _say_goodbye(self) -> None:
        self.suspend("the server was stopped")
        status = ServerStatus(boot=self._boot, state="leaving", software=f"kehefl {__version__}")
        try:
            await self._link.publish(self.topics.server_status, encode(status), retain=True, timeout_s=2.0)
        except BrokerError as error:
            self._stream.emit(
                Notice(level="warning", text=f"The broker could not be told that the server stops: {error}")
            )

    # What faces use ------------------------------------------------------------------------------------------------

    @property
    def broker_url(self) -> str:
        """Where devices find the broker, without its password."""
        return self._address().url

    def subscribe(self, callback: Callable[[Stamped], None]) -> Callable[[], None]:
        """Call `callback` with every event from now on; returns what ends that."""
        return self._stream.subscribe(callback)

    def snapshot(self) -> tuple[Stamped, ...]:
        """Events that bring a newcomer up to date; what follows comes by `subscribe`."""
        return self._stream.snapshot()

    def known(self, kind: str) -> Collection[str]:
        """Names for completion: `devices`, `run`."""
        if kind == "devices":
            return sorted(self._registry.states())
        return [row.run for row in self._log.runs()] if kind == "run" else []

    async def submit(self, line: str, *, origin: str = "console", marked: Collection[str] = ()) -> str:
        """Carry out one command; `run start` is done as soon as the run began. Returns what to tell the operator.

        Raises UsageError for a line that cannot be meant, RefusedError for one that cannot be carried out now.
        """
        return await self._verbs.carry_out(line, origin=origin, marked=marked)

    async def execute(self, line: str) -> str | Result:
        """Carry out one command to its end. A command that starts or resumes a run returns the run's Result, whatever
        its status; every other one the text for the operator. Raises as `submit` does."""
        text = await self.submit(line, origin="library")
        run = self._coordinator.run
        if run is None or line.split()[:2] not in (["run", "start"], ["run", "resume"]):
            return text
        await self.finished()
        return self.result(run.run)

    def suspend(self, reason: str) -> None:
        """Stop a run that is going on without ending it: `run resume` takes it up again. Devices are told to stop."""
        run = self._coordinator.run
        if run is not None and run.machine.phase != "ended":
            self._coordinator.interrupt(reason)

    def devices_ended(self, reason: str) -> None:
        """Whoever started devices for this server says that they are gone: a run ends with that reason."""
        self._stream.emit(Notice(level="error", text=reason))
        self._coordinator.fail(reason)

    async def finished(self) -> None:
        """Until no run is going on."""
        await self._coordinator.idle.wait()

    def result(self, run: str) -> Result:
        """The summary of a recorded run. DataError if there is none of that id."""
        self._stream.flush()
        row = self._log.run(run)
        return summarise(self._log.events(row.run), status=row.status)

    # Link ----------------------------------------------------------------------------------------------------------

    async def _obtain_broker(self) -> None:
        if isinstance(self._broker, BrokerHandle):
            self._handle = self._broker
        elif not isinstance(self._broker, BrokerAddress):
            self._handle = await obtain_broker(self._broker, state_dir=self.state)
            self._own_handle = True

    def _address(self) -> BrokerAddress:
        if isinstance(self._broker, BrokerAddress):
            return self._broker
        if self._handle is None:
            raise RefusedError("The server has not been started. Use it with: async with kehefl.Server(...) as server")
        return self._handle.address

    def _make_link(self) -> Link:
        topics = self.topics
        return Link(
            self._address(),
            # The boot is part of the name: a second server must be able to ask before it takes anything over.
            f"kehefl-server-{topics.federation}-{self._boot}",
            on_message=self._on_message,
            subscriptions=[
                (topics.any_device + "status", 1),
                (topics.any_device + "telemetry", 0),
                (topics.any_device + "reply/+", 1),
                (topics.any_device + "up/+/+/+", 1),
                (topics.server_status, 1),
                (topics.control_request, 1),
                (topics.control_reply(self._boot), 1),
            ],
            will=Will(topics.server_status, encode(ServerStatus(boot=self._boot, state="lost"))),
            on_up=self._on_up,
            on_status=self._on_link,
        )

    async def _keep_link(self) -> None:
        try:
            await self._link.run()
        except BrokerError as error:
            self._refusal = self._refusal or error
        self._ready.set()

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._ready.wait()
        except TimeoutError:
            status = self._link.status
            raise BrokerError(
                f"No broker answers at {self._address().url}{': ' + status.reason if status.reason else ''}. "
                "Start one (kehefl broker start), or name another with --broker."
            ) from None
        if self._refusal is not None:
            raise self._refusal

    async def _on_up(self) -> None:
        await self._refuse_beside_rival()
        status = ServerStatus(
            boot=self._boot, state="up", software=f"kehefl {__version__}", host=socket.gethostname(), pid=os.getpid()
        )
        await self._link.publish(self.topics.server_status, encode(status), retain=True)
        self._coordinator.link_up()
        self._ready.set()

    async def _refuse_beside_rival(self) -> None:
        """Give way to another server of this federation that is alive. One that only left its birth behind is dead."""
        try:
            # Retained messages come before one that is sent now: when our own comes back, we know who else is there.
            await self._ask(self.topics.control_reply(self._boot), self._boot)
            if self._rival is None:
                return
            await self._ask(self.topics.control_request, secrets.token_hex(8), line="run show")
        except TimeoutError:
            return
        rival = self._rival
        self._refusal = RefusedError(
            f"Federation '{self.topics.federation}' already has a server ({rival.software} on {rival.host}, process "
            f"{rival.pid}). Use it with kehefl ctl, stop it, or choose another name with --federation."
        )
        self._stream.emit(self._link_event(self._link.status, state="refused", reason=str(self._refusal)))
        self._own(self._link.close())
        raise BrokerError(str(self._refusal))

    async def _ask(self, topic: str, correlation: str, line: str | None = None) -> ControlReply:
        """Send a request (or, without `line`, an answer to ourselves) and wait for the answer with this correlation."""
        answer: asyncio.Future[ControlReply] = asyncio.get_running_loop().create_future()
        self._answers[correlation] = answer
        message: Message = ControlReply(correlation=correlation, ok=True, text="")
        if line is not None:
            message = ControlRequest(correlation=correlation, line=line, reply_to=self._boot)
        try:
            await self._link.publish(topic, encode(message))
            async with asyncio.timeout(RIVAL_LIMIT_S):
                return await answer
        finally:
            del self._answers[correlation]

    def _on_link(self, status: LinkStatus) -> None:
        self._stream.emit(self._link_event(status))

    def _link_event(self, status: LinkStatus, *, state: str = "", reason: str = "") -> LinkChanged:
        return LinkChanged(
            state=state or status.state.value,  # type: ignore[arg-type]
            broker=self._address().url,
            broker_kind=self._handle.kind if self._handle else "given",
            reason=reason or status.reason,
            attempt=status.attempt,
            retry_in_s=status.retry_in_s,
            ever_up=status.ever_up,
            mqtt=status.mqtt,
        )

    # Messages ------------------------------------------------------------------------------------------------------

    def _on_message(self, inbound: Inbound) -> None:
        """Decode, check, pass on. Whatever is wrong with a message ends here: counted, shown, never acted on."""
        topic = inbound.topic
        named = self.topics.parse_device(topic)
        try:
            if named is not None:
                self._on_device_message(named, inbound)
            elif topic == self.topics.control_request:
                request, _ = decode(inbound.payload, ControlRequest)
                if request.correlation not in self._answers:
                    self._own(self._answer(request))
            elif topic == self.topics.server_status:
                self._on_server_status(decode(inbound.payload, ServerStatus)[0])
            else:
                reply, _ = decode(inbound.payload, ControlReply)
                if (waiting := self._answers.get(reply.correlation)) is not None and not waiting.done():
                    waiting.set_result(reply)
        except ProtocolError as error:
            self._reject(topic, str(error), named.device if named else "")

    def _on_device_message(self, named: DeviceTopic, inbound: Inbound) -> None:
        match named.kind:
            case "up":
                update, body = decode(inbound.payload, Update)
                part = update.payload.part if update.payload else 0
                if named.rest != (update.run, str(update.round), str(part)):
                    raise ProtocolError("The update is not the one that its topic names.")
                self._check_sender(named.device, update.device, update.boot)
                self._coordinator.take_update(update, body, inbound.packet_bytes)
            case "telemetry":
                telemetry, _ = decode(inbound.payload, Telemetry)
                self._check_sender(named.device, telemetry.device, telemetry.boot)
                self._on_telemetry(telemetry)
            case "status":
                if inbound.payload:  # An empty one clears the topic.
                    self._on_device_status(named.device, decode(inbound.payload, DeviceStatus)[0])
            case "reply":
                reply, _ = decode(inbound.payload, Reply)
                self._check_sender(named.device, reply.device, reply.boot)
                self._verbs.take_reply(reply)
                self._coordinator.take_reply(reply)

    def _check_sender(self, topic_device: str, device: str, boot: str) -> None:
        if device != topic_device:
            raise ProtocolError(f"The message says it is from '{device}', its topic says '{topic_device}'.")
        known = self._registry.get(device)
        if known is None:
            raise ProtocolError(f"'{device}' has not registered: its birth message is missing.")
        if known.held == "evicted":
            raise ProtocolError(f"'{device}' was evicted. Take it in again with: device readmit {device}")
        if known.birth.boot != boot:
            raise ProtocolError(f"The message is from an earlier start of '{device}'.")
        if known.state == "lost":
            # A will that came late, or a broker that forgot: what speaks is alive.
            self._registry.seen(device, boot, "ready")
            self._device_changed(device)

    def _on_device_status(self, topic_device: str, status: DeviceStatus) -> None:
        if status.device != topic_device:
            raise ProtocolError(f"The birth says it is of '{status.device}', its topic says '{topic_device}'.")
        if self._registry.take_status(status):
            self._device_changed(status.device)

    def _device_changed(self, device: str) -> None:
        known = self._registry.get(device)
        if known is None:
            return
        self._stream.emit(self._registry.event(device))
        if known.available:
            self._coordinator.device_available(device)
        elif known.state == "lost":
            self._coordinator.device_lost(device)
        else:
            self._coordinator.device_left(device)

    def _on_telemetry(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        self._stream.emit(
            DeviceTelemetry(
                device=telemetry.device,
                cpu_percent=telemetry.cpu_percent,
                cpu_s=meter.cpu_s,
                rss_mib=telemetry.rss_mib,
                peak_rss_mib=meter.peak_rss_mib,
                sent_bytes=meter.sent_bytes,
                received_bytes=meter.received_bytes,
                process=meter.process,
                temperature_c=telemetry.temperature_c,
                round=telemetry.round,
                progress=telemetry.progress,
                loss=telemetry.loss,
            )
        )

    def _on_server_status(self, status: ServerStatus) -> None:
        if status.boot != self._boot:
            self._rival = status if status.state == "up" else None

    async def _answer(self, request: ControlRequest) -> None:
        try:
            text = await self.submit(request.line, origin="ctl")
            reply = ControlReply(correlation=request.correlation, ok=True, text=text[:100_000])
        except KeheflError as error:
            reply = ControlReply(correlation=request.correlation, ok=False, text=str(error))
        self._link.post(self.topics.control_reply(request.reply_to), encode(reply))

    def _reject(self, topic: str, reason: str, device: str) -> None:
        self._rejected += 1
        self._shown_rejections += 1
        if self._shown_rejections <= SHOWN_REJECTIONS:
            self._tell_rejection(topic[:200], reason, device[:64])

    def _tell_rejection(self, topic: str, reason: str, device: str = "") -> None:
        run = self._coordinator.run
        if run is None:
            self._rejected_before_run = self._rejected
        in_run = self._rejected - self._rejected_before_run
        self._stream.emit(
            MessageRejected(topic=topic, reason=reason, total=self._rejected, in_run=in_run, device=device)
        )

    # Upkeep --------------------------------------------------------------------------------------------------------

    def _tell_what_was_found(self) -> None:
        torn = self._checkpoints.sweep()
        if torn:
            self._stream.emit(
                Notice(level="warning", text=f"Removed {torn} half-written checkpoint(s) of a killed server.")
            )
        for row in self._log.adopt_interrupted():
            self._stream.emit(
                Notice(
                    level="warning",
                    text=f"Run {row.run} was interrupted after round {row.rounds_completed} of {row.rounds}. "
                    f"Go on with: run resume {row.run}",
                )
            )
        if self._handle is not None:
            self._stream.emit(Notice(level="info", text=self._handle.description))

    async def _tick(self) -> None:
        """Batch commits, the server's own telemetry, and the rejections that were only counted."""
        while True:
            await asyncio.sleep(TICK_S)
            reading, traffic = read_process(), self._link.counter.snapshot()
            self._stream.emit(
                ServerTelemetry(
                    cpu_percent=self._cpu.percent(),
                    cpu_s=reading.cpu_s,
                    rss_mib=reading.rss_mib,
                    peak_rss_mib=reading.peak_rss_mib,
                    sent_bytes=traffic.sent_packet_bytes,
                    received_bytes=traffic.received_packet_bytes,
                )
            )
            unshown = self._shown_rejections - SHOWN_REJECTIONS
            if unshown > 0:
                self._tell_rejection("", f"{unshown} more in the last half second")
            self._shown_rejections = 0
            self._stream.flush()

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of this server; a fault of it is told, not swallowed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stream.emit(Notice(level="error", text=f"Internal error: {type(error).__name__}: {error}"))
