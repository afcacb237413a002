"""The device agent: it keeps a link, says what it has, and carries out the rounds it is asked to take part in."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from kehefl import __version__
from kehefl.data.shard import Shard
from kehefl.device.inbox import ModelInbox
from kehefl.device.metering import RunMeter, read_meter
from kehefl.device.told import Kind, Tell, Told, silent
from kehefl.device.trainer import Trainer
from kehefl.device.upload import Upload, post_upload, send_upload
from kehefl.device.work import Order, Outcome, seeded
from kehefl.errors import BrokerError, DataError, ProtocolError, RefusedError
from kehefl.models.base import Model
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import (
    DeviceState,
    DeviceStatus,
    Manifest,
    ModelPart,
    Reply,
    Request,
    Telemetry,
    TensorSpec,
    Update,
)
from kehefl.protocol.tensors import Assembly, specs_of
from kehefl.protocol.topics import Topics, check_id
from kehefl.telemetry.process import (
    CpuShare,
    board_name,
    give_back_memory,
    process_name,
    read_process,
    temperature_c,
)
from kehefl.transport.address import BrokerAddress
from kehefl.transport.link import Inbound, Link, LinkState, LinkStatus, Will

TELEMETRY_EVERY_S: Final = 2.0
#: After this long without a new part, the parts that lack are asked for again.
MODEL_PATIENCE_S: Final = 5.0

#: Run, round, attempt and server: a server that was killed and resumes its run asks anew.
Key = tuple[str, int, int, str]
NO_ROUND: Final[Key] = ("", 0, 0, "")


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
        self._rows = rows
        self._columns = columns
        self._models = models
        self._trainer = trainer
        self._tell = tell
        self._telemetry_every_s = telemetry_every_s
        self._boot = secrets.token_hex(8)
        self._process = process_name()
        self._cpu = CpuShare()
        self._shard: Shard | None = None
        self._no_rows = ""
        self._state: DeviceState = "ready"
        self._reason = ""
        self._models_in = ModelInbox()
        self._known_specs: dict[tuple[str, int], tuple[TensorSpec, ...]] = {}
        self._meter: RunMeter | None = None
        self._key: Key | None = None
        self._work: asyncio.Task[None] | None = None
        self._upload: Upload | None = None
        self._progress = 0.0
        self._loss: float | None = None
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
            ],
            will=Will(topics.device_status(device), encode(self._birth("lost", "connection lost"))),
            on_up=self._on_up,
            on_status=self._on_link,
        )

    async def run(self, gate: asyncio.Semaphore | None = None) -> None:
        """Serve until cancelled. Raises BrokerError when the broker refuses this device for good."""
        async with gate or contextlib.nullcontext():
            await self._load_rows()
        try:
            async with asyncio.TaskGroup() as group:
                link = group.create_task(self.link.run())
                telemetry = group.create_task(self._telemetry())
                link.add_done_callback(lambda _: telemetry.cancel())
        except* BrokerError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._leave()

    async def _leave(self) -> None:
        await self._drop_work()
        if self.link.status.state is LinkState.UP:
            farewell = self._birth("leaving", "stopped")
            with contextlib.suppress(BrokerError):  # The will says it too, if the broker is gone.
                await self.link.publish(
                    self._topics.device_status(self.device), encode(farewell), retain=True, timeout_s=2.0
                )
        await self.link.close()
        await self._trainer.close()

    # Rows ----------------------------------------------------------------------------------------------------------

    async def _load_rows(self) -> None:
        try:
            shard = await asyncio.to_thread(self._rows)
        except DataError as error:
            # A recording that has just begun has no rows yet; the device is there all the same and says so.
            self._shard, self._no_rows = None, str(error)
            return
        if self._shard is None or shard.digest() != self._shard.digest():
            self._shard, self._no_rows = shard, ""
            self._trainer.use(shard)
            give_back_memory()

    async def _refresh_rows(self) -> None:
        """A run begins: recordings may have grown, and the server has to know before it counts on them."""
        before = self._shard
        await self._load_rows()
        if self._shard is not before and self.link.status.state is LinkState.UP:
            birth = encode(self._birth(self._state, self._no_rows))
            self.link.post(self._topics.device_status(self.device), birth, retain=True)

    # Telling the server ----------------------------------------------------------------------------------------------

    def _birth(self, state: DeviceState, reason: str = "") -> DeviceStatus:
        shard = self._shard
        if shard is None:
            features, target = self._columns
            return DeviceStatus(
                device=self.device,
                boot=self._boot,
                state=state,
                reason=reason[:500],
                features=features,
                target=target,
                models=tuple(self._models),
            )
        return DeviceStatus(
            device=self.device,
            boot=self._boot,
            state=state,
            reason=reason[:500],
            software=f"kehefl {__version__}",
            board=board_name(),
            process=self._process,
            source=shard.source,
            simulated=shard.simulated,
            features=shard.features,
            target=shard.target,
            rows_train=len(shard.y_train),
            rows_test=len(shard.y_test),
            data_digest=shard.digest(),
            models=tuple(self._models),
            notes=tuple(note[:500] for note in shard.notes[:10]),
        )

    async def _on_up(self) -> None:
        reason = self._no_rows if self._shard is None else self._reason
        await self.link.publish(
            self._topics.device_status(self.device), encode(self._birth(self._state, reason)), retain=True
        )
        rows = len(self._shard.y_train) if self._shard else 0
        self._say("born", f"ready, {rows} training rows")

    def _on_link(self, status: LinkStatus) -> None:
        wait = f", next try in {status.retry_in_s:.0f} s" if status.retry_in_s is not None else ""
        self._say("link", f"broker {status.state.value}{': ' + status.reason if status.reason else ''}{wait}")

    async def _telemetry(self) -> None:
        while True:
            await asyncio.sleep(self._telemetry_every_s)
            if self.link.status.state is not LinkState.UP:
                continue
            reading = read_process()
            run, round_, _, _ = self._key or NO_ROUND
            message = Telemetry(
                device=self.device,
                boot=self._boot,
                cpu_percent=self._cpu.percent(),
                rss_mib=reading.rss_mib,
                meter=read_meter(self._process, self.link),
                temperature_c=temperature_c(),
                run=run,
                round=round_,
                progress=self._progress,
                loss=self._loss,
            )
            self.link.post(self._topics.telemetry(self.device), encode(message), qos=0)

    def _say(self, kind: Kind, text: str, *, loss: float | None = None) -> None:
        run, round_, _, _ = self._key or NO_ROUND
        self._tell(Told(device=self.device, kind=kind, text=text, run=run, round=round_, loss=loss))

    # Messages ------------------------------------------------------------------------------------------------------

    def _on_message(self, inbound: Inbound) -> None:
        try:
            if inbound.topic == self._topics.round:
                if inbound.payload:
                    manifest, body = decode(inbound.payload, Manifest)
                    self._on_manifest(manifest, body, (inbound.packet_bytes, len(inbound.payload)))
            elif (model := self._topics.parse_model(inbound.topic)) is not None:
                if inbound.payload:  # An empty one clears a model that is no longer needed.
                    self._on_model_part(model, inbound)
            else:
                request, _ = decode(inbound.payload, Request)
                self._on_request(request)
        except ProtocolError as error:
            self._say("rejected", f"ignored a message on {inbound.topic}: {error}")

    def _on_model_part(self, named: tuple[str, int], inbound: Inbound) -> None:
        part, body = decode(inbound.payload, ModelPart)
        if named != (part.payload.digest.hex(), part.payload.part):
            raise ProtocolError("The model part is not the one that its topic names.")
        self._models_in.add(part.payload, body)

    def _on_manifest(self, manifest: Manifest, body: memoryview, sizes: tuple[int, int]) -> None:
        key = (manifest.run, manifest.round, manifest.attempt, manifest.server)
        if manifest.state == "ended":
            self._on_ended(manifest)
            return
        if self.device in manifest.carried:
            return
        if self.device not in manifest.cohort:
            self._withdraw()
            return
        if self._meter is None or self._meter.run != manifest.run:
            self._meter = RunMeter(manifest.run, self._process, self.link, *sizes)
        if key == self._key:
            # The retained manifest came again, after a reconnect: what was sent before may not have arrived.
            if self._upload is not None and self._work is None:
                self._start(self._send(self._upload, ()))
            return
        self._withdraw()
        self._key = key
        if not self._take_part_now(manifest, body):
            self._start(self._take_part(manifest, body))

    def _on_ended(self, manifest: Manifest) -> None:
        self._withdraw()
        if self._meter is not None and self._meter.run == manifest.run:
            report = Reply(
                device=self.device, boot=self._boot, verb="report", ok=True, run=manifest.run, meter=self._meter.read()
            )
            self.link.enqueue(self._topics.reply(self.device, "report"), encode(report))
            self._meter = None
            self._say("idle", f"run {manifest.run} is over")
        self._key = None

    def _on_request(self, request: Request) -> None:
        key = (request.run, request.round, request.attempt, request.server)
        ok, reason = True, "here"
        if request.verb == "resend":
            if self._upload is not None and key == self._key and self._work is None:
                self._start(self._send(self._upload, request.parts))
                reason = "sending again"
            elif key == self._key:
                reason = f"training, {self._progress:.0%}"
            else:
                ok, reason = False, "not taking part in that round"
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
            progress=self._progress,
        )
        self.link.post(self._topics.reply(self.device, request.verb), encode(answer))

    # A round -------------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work = task
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if self._work is task:
            self._work = None
            self._state = "ready"
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say("refused", f"the round could not be carried out: {type(error).__name__}: {error}")

    def _withdraw(self) -> None:
        """Drop whatever is being done; its outcome is not wanted any more."""
        if self._work is not None:
            self._work.cancel()
            self._work = None
        self._upload = None
        self._progress, self._loss, self._state = 0.0, None, "ready"

    async def _drop_work(self) -> None:
        work = self._work
        self._withdraw()
        if work is not None:
            await asyncio.wait([work])

    async def _take_part(self, manifest: Manifest, body: memoryview) -> None:
        try:
            began = time.perf_counter()
            if manifest.task == "statistics":
                await self._refresh_rows()
            vector = await self._global_model(manifest, body)
            order = self._order(manifest, vector)
            download_s = time.perf_counter() - began
            self._state = "training"
            # Without a limit of its own: the server may pause, or take a late update; its next manifest ends the work.
            outcome = await self._trainer.carry_out(order, self._on_progress)
            self._progress, self._loss, self._state = 1.0, outcome.loss, "uploading"
            self._upload = self._pack(manifest, outcome, download_s)
            await self._send(self._upload, ())
        except BrokerError as error:
            # Not a refusal: after the reconnect the retained manifest comes again, and with it another try.
            if self._upload is None:
                self._key = None
            self._say("link", f"round {manifest.round} goes on when the broker is back: {error}")
        except (RefusedError, ProtocolError) as error:
            self._refuse(manifest, str(error))
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything; the server has to hear of it
            self._refuse(manifest, f"{type(error).__name__}: {error}")

    def _take_part_now(self, manifest: Manifest, body: memoryview) -> bool:
        """The same without a task or a thread, for a model inside the manifest that trains in no time. False when this
        round is not of that kind; then nothing was done."""
        if not manifest.inline or manifest.training is None or manifest.training.model not in self._models:
            return False
        shard = self._shard
        if shard is None or (manifest.features, manifest.target) != (shard.features, shard.target):
            return False
        try:
            order = self._order(manifest, self._inline_model(manifest, body))
            if not self._trainer.is_quick(order):
                return False
            outcome = self._trainer.carry_out_now(order)
        except (RefusedError, ProtocolError) as error:
            self._refuse(manifest, str(error))
            return True
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything; the server has to hear of it
            self._refuse(manifest, f"{type(error).__name__}: {error}")
            return True
        self._progress, self._loss = 1.0, outcome.loss
        self._upload = self._pack(manifest, outcome, 0.0)
        post_upload(self.link, self._topics, self._upload)
        self._say("sent", f"round {manifest.round}: update sent", loss=outcome.loss)
        return True

    def _order(self, manifest: Manifest, vector: bytes) -> Order:
        self._check_fits(manifest)
        return Order(
            device=self.device,
            round=manifest.round,
            task=manifest.task,
            vector=vector,
            specs=manifest.model.tensors if manifest.model else (),
            training=manifest.training,
            standardisation=manifest.standardisation,
        )

    def _pack(self, manifest: Manifest, outcome: Outcome, download_s: float) -> Upload:
        update = Update(
            run=manifest.run,
            round=manifest.round,
            attempt=manifest.attempt,
            task=manifest.task,
            device=self.device,
            boot=self._boot,
            weight=outcome.weight,
            loss=outcome.loss,
            evaluation=outcome.evaluation,
            download_s=download_s,
            train_s=outcome.train_s,
            train_cpu_s=outcome.train_cpu_s,
        )
        return Upload(update, outcome.body, outcome.specs, self.link.status.max_packet_bytes)

    def _check_fits(self, manifest: Manifest) -> None:
        """RefusedError when this device cannot take part in such a run."""
        shard, training = self._shard, manifest.training
        if shard is None:
            raise RefusedError(f"no rows to train on: {self._no_rows}")
        if (manifest.features, manifest.target) != (shard.features, shard.target):
            raise RefusedError(
                f"the run trains {', '.join(manifest.features)} to {manifest.target}, this device has "
                f"{', '.join(shard.features)} to {shard.target}; start it with the run's --features and --target"
            )
        if training is not None and training.model not in self._models:
            raise RefusedError(
                f"model '{training.model[:60]}' is not known here; start this device with --model {training.model[:60]}"
            )

    def _inline_model(self, manifest: Manifest, body: memoryview) -> bytes:
        payload, training = manifest.model, manifest.training
        if payload is None or training is None:
            return b""
        # The device decides by its own model what it is ready to receive, not by what the message says.
        assembly = Assembly(payload, self._specs(training.model, len(manifest.features)))
        assembly.add(payload, body)
        return bytes(assembly.body())

    async def _global_model(self, manifest: Manifest, body: memoryview) -> bytes:
        self._check_fits(manifest)
        payload, training = manifest.model, manifest.training
        if payload is None or training is None or manifest.inline:
            return self._inline_model(manifest, body)
        specs = self._specs(training.model, len(manifest.features))
        give_up_at = time.monotonic() + max(manifest.deadline_s, MODEL_PATIENCE_S)
        while True:
            try:
                async with asyncio.timeout(MODEL_PATIENCE_S):
                    return await self._models_in.get(payload, specs)
            except TimeoutError:
                if time.monotonic() >= give_up_at:
                    raise RefusedError(f"the model did not arrive within {manifest.deadline_s:.0f} s") from None
                # Subscribing makes the broker send what it retains: exactly the parts that lack.
                for part in self._models_in.missing(payload.digest):
                    topic = self._topics.model(payload.digest.hex(), part)
                    await self.link.subscribe(topic, 1)
                    await self.link.unsubscribe(topic)

    def _specs(self, model: str, features: int) -> tuple[TensorSpec, ...]:
        key = (model, features)
        if key not in self._known_specs:
            self._known_specs[key] = specs_of(self._models[model].initialise(features, seeded("shapes")))
        return self._known_specs[key]

    def _on_progress(self, share: float, loss: float) -> None:
        # Called from the training thread: two plain assignments, read by the telemetry.
        self._progress, self._loss = share, loss

    async def _send(self, upload: Upload, parts: tuple[int, ...]) -> None:
        await send_upload(self.link, self._topics, upload, parts)
        self._say("sent", f"round {upload.update.round}: update sent", loss=upload.update.loss)

    def _refuse(self, manifest: Manifest, reason: str) -> None:
        self._say("refused", f"round {manifest.round}: {reason}")
        refusal = Reply(
            device=self.device,
            boot=self._boot,
            verb="round",
            ok=False,
            reason=reason[:500],
            run=manifest.run,
            round=manifest.round,
            attempt=manifest.attempt,
        )
        self.link.enqueue(self._topics.reply(self.device, "round"), encode(refusal))
