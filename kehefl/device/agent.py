"""The device agent: it keeps a link, says what it has, and answers what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from kehefl import __version__
from kehefl.data.shard import Shard
from kehefl.device.metering import RunMeter, read_meter
from kehefl.device.participation import Participation
from kehefl.device.rows import Rows
from kehefl.device.told import Kind, Tell, Told, silent
from kehefl.device.trainer import Trainer
from kehefl.errors import BrokerError, ProtocolError
from kehefl.models.base import Model
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import DeviceState, DeviceStatus, Manifest, ModelPart, Reply, Request, Telemetry
from kehefl.protocol.topics import Topics, check_id
from kehefl.telemetry.process import CpuShare, board_name, process_name, read_process, temperature_c
from kehefl.transport.address import BrokerAddress
from kehefl.transport.link import Inbound, Link, LinkState, LinkStatus, Will

TELEMETRY_EVERY_S: Final = 2.0
FAREWELL_LIMIT_S: Final = 2.0


class Agent:
    """One device on one link. `rows` gives its rows anew for each run, so that recordings may grow between runs;
    `columns` are the features and the target that it will have as soon as there are rows."""

    def __init__(
        self,
        device: str,
        *,
        address: BrokerAddress,
        topics: Topics,
        rows: Callable[[], Shard],
        columns: tuple[tuple[str, ...], str] = ((), ""),
        models: Mapping[str, Model],
        trainer: Trainer,
        tell: Tell = silent,
        telemetry_every_s: float = TELEMETRY_EVERY_S,
    ) -> None:
        self.device = check_id(device)
        self._topics = topics
        self._models = tuple(models)
        self._trainer = trainer
        self._tell = tell
        self._telemetry_every_s = telemetry_every_s
        self._boot = secrets.token_hex(8)
        self._process = process_name()
        self._cpu = CpuShare()
        self._rows = Rows(rows, columns, models, trainer)
        self._meter: RunMeter | None = None
        self._was_born = False
        self._double: BrokerError | None = None
        self._closing: asyncio.Task[None] | None = None
        # An id has no dot in it, so no two devices of different federations share a client id.
        client_id = device if topics.federation == "default" else f"{topics.federation}.{device}"
        self.link = Link(
            address,
            client_id,
            on_message=self._on_message,
            subscriptions=[
                (topics.round, 1),
                (topics.any_model, 1),
                (topics.command(device, "+"), 1),
                (topics.device_status(device), 1),
            ],
            will=Will(topics.device_status(device), encode(self._birth("lost", "connection lost"))),
            on_up=self._on_up,
            on_status=self._on_link,
        )
        self._part = Participation(
            device,
            self._boot,
            link=self.link,
            topics=topics,
            rows=self._rows,
            models=models,
            trainer=trainer,
            say=self._say,
            reborn=self._on_other_rows,
        )

    async def run(self, gate: asyncio.Semaphore | None = None) -> None:
        """Serve until cancelled. Raises BrokerError when the broker refuses this device for good or another one has its
        id, UsageError when its rows cannot be meant."""
        async with gate or contextlib.nullcontext():
            await self._rows.load()
        try:
            async with asyncio.TaskGroup() as group:
                link = group.create_task(self.link.run())
                telemetry = group.create_task(self._telemetry())
                link.add_done_callback(lambda _: telemetry.cancel())
        except* BrokerError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._leave()
        if self._double is not None:
            raise self._double

    async def _leave(self) -> None:
        work = self._part.withdraw()
        if work is not None:
            await asyncio.wait([work])
        if self.link.status.state is LinkState.UP and self._double is None:
            topic, farewell = self._topics.device_status(self.device), self._birth("leaving", "stopped")
            with contextlib.suppress(BrokerError):  # The will says it too, if the broker is gone.
                await self.link.publish(topic, encode(farewell), retain=True, timeout_s=FAREWELL_LIMIT_S)
        await self.link.close()
        await self._trainer.close()

    # Telling the server --------------------------------------------------------------------------------------------

    def _birth(self, state: DeviceState, reason: str) -> DeviceStatus:
        shard = self._rows.shard
        features, target = self._rows.columns
        return DeviceStatus(
            device=self.device,
            boot=self._boot,
            state=state,
            reason=reason[:500],
            software=f"kehefl {__version__}",
            board=board_name(),
            process=self._process,
            source=shard.source if shard else "",
            simulated=shard.simulated if shard else False,
            features=features,
            target=target,
            rows_train=self._rows.count,
            rows_test=len(shard.y_test) if shard else 0,
            data_digest=shard.digest() if shard else "",
            models=self._models,
            notes=tuple(note[:500] for note in shard.notes[:10]) if shard else (),
        )

    def _present(self) -> bytes:
        return encode(self._birth(self._part.state, "" if self._rows.shard else f"no rows yet: {self._rows.lacking}"))

    async def _on_up(self) -> None:
        await self.link.publish(self._topics.device_status(self.device), self._present(), retain=True)
        self._say("born", f"ready, {self._rows.count} training rows")

    def _on_other_rows(self) -> None:
        self.link.post(self._topics.device_status(self.device), self._present(), retain=True)

    def _on_link(self, status: LinkStatus) -> None:
        wait = f", next try in {status.retry_in_s:.0f} s" if status.retry_in_s is not None else ""
        self._say("link", f"broker {status.state.value}{': ' + status.reason if status.reason else ''}{wait}")

    async def _telemetry(self) -> None:
        while True:
            await asyncio.sleep(self._telemetry_every_s)
            if self.link.status.state is not LinkState.UP:
                continue
            run, round_, _, _ = self._part.key
            message = Telemetry(
                device=self.device,
                boot=self._boot,
                cpu_percent=self._cpu.percent(),
                rss_mib=read_process().rss_mib,
                meter=read_meter(self._process, self.link),
                temperature_c=temperature_c(),
                run=run,
                round=round_,
                progress=self._part.progress,
                loss=self._part.loss,
            )
            self.link.post(self._topics.telemetry(self.device), encode(message), qos=0)

    def _say(self, kind: Kind, text: str, loss: float | None = None) -> None:
        run, round_, _, _ = self._part.key
        self._tell(Told(device=self.device, kind=kind, text=text, run=run, round=round_, loss=loss))

    # Messages ------------------------------------------------------------------------------------------------------

    def _on_message(self, inbound: Inbound) -> None:
        try:
            if inbound.topic == self._topics.round:
                if inbound.payload:
                    manifest, body = decode(inbound.payload, Manifest)
                    self._on_manifest(manifest, body, (inbound.packet_bytes, len(inbound.payload)))
            elif inbound.topic == self._topics.device_status(self.device):
                if inbound.payload:
                    self._on_own_status(decode(inbound.payload, DeviceStatus)[0])
            elif (model := self._topics.parse_model(inbound.topic)) is not None:
                if inbound.payload:  # An empty one clears a model that is no longer needed.
                    self._on_model_part(model, inbound)
            else:
                request, _ = decode(inbound.payload, Request)
                self._on_request(request)
        except ProtocolError as error:
            self._say("rejected", f"ignored a message on {inbound.topic}: {error}")

    def _on_own_status(self, status: DeviceStatus) -> None:
        """Our own birth comes back. Another start's, after we were born, means that someone else has our id; without
        giving way, the two would take the connection from each other for ever, since not every broker tells them."""
        if status.boot == self._boot:
            self._was_born = True
            return
        if status.state in {"lost", "leaving"} or not self._was_born:
            return
        self._double = BrokerError(
            f"Another device is connected as '{self.device}' ({status.process or 'process unknown'}) and took this "
            "session over. Give one of them another id."
        )
        self._closing = asyncio.get_running_loop().create_task(self.link.close())

    def _on_model_part(self, named: tuple[str, int], inbound: Inbound) -> None:
        part, body = decode(inbound.payload, ModelPart)
        if named != (part.payload.digest.hex(), part.payload.part):
            raise ProtocolError("The model part is not the one that its topic names.")
        self._part.inbox.add(part.payload, body)

    def _on_manifest(self, manifest: Manifest, body: memoryview, sizes: tuple[int, int]) -> None:
        if manifest.state == "ended":
            self._on_ended(manifest)
        elif self.device in manifest.cohort:
            if self._meter is None or self._meter.run != manifest.run:
                self._meter = RunMeter(manifest.run, self._process, self.link, *sizes)
            self._part.take_part(manifest, body)
        elif self.device not in manifest.carried:
            self._part.withdraw()

    def _on_ended(self, manifest: Manifest) -> None:
        self._part.withdraw()
        if self._meter is None or self._meter.run != manifest.run:
            return
        report = Reply(
            device=self.device, boot=self._boot, verb="report", ok=True, run=manifest.run, meter=self._meter.read()
        )
        self.link.enqueue(self._topics.reply(self.device, "report"), encode(report))
        self._meter = None
        self._say("idle", f"run {manifest.run} is over")

    def _on_request(self, request: Request) -> None:
        ok, reason = True, "here"
        if request.verb == "resend":
            if (request.run, request.round, request.attempt, request.server) != self._part.key:
                ok, reason = False, "not taking part in that round"
            elif self._part.send_again(request.parts):
                reason = "sending again"
            else:
                ok, reason = self._part.busy, f"training, {self._part.progress:.0%}" if self._part.busy else "refused"
        answer = Reply(
            device=self.device,
            boot=self._boot,
            verb=request.verb,
            ok=ok,
            reason=reason,
            correlation=request.correlation,
            run=request.run,
            round=request.round,
            attempt=request.attempt,
            progress=self._part.progress,
        )
        self.link.post(self._topics.reply(self.device, request.verb), encode(answer))
