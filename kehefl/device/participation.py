"""A device's part in a round: getting the model, training, sending the update, and sending it again when asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from kehefl.device.inbox import ModelInbox
from kehefl.device.rows import Rows
from kehefl.device.told import Kind
from kehefl.device.trainer import Trainer
from kehefl.device.upload import Upload, post_upload, send_upload
from kehefl.device.work import Order, Outcome, seeded
from kehefl.errors import BrokerError, ProtocolError, RefusedError
from kehefl.models.base import Model
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import DeviceState, Manifest, Reply, TensorSpec, Update
from kehefl.protocol.tensors import Assembly, specs_of
from kehefl.protocol.topics import Topics
from kehefl.transport.link import Link

#: After this long without a new part of the model, the parts that lack are asked for again.
MODEL_PATIENCE_S: Final = 5.0

#: Run, round, attempt and server: a server that was killed and resumes its run asks anew.
Key = tuple[str, int, int, str]
NO_ROUND: Final[Key] = ("", 0, 0, "")


class Participation:
    """One round at a time. `key` names it, `state`, `progress` and `loss` are for the telemetry."""

    def __init__(
        self,
        device: str,
        boot: str,
        *,
        link: Link,
        topics: Topics,
        rows: Rows,
        models: Mapping[str, Model],
        trainer: Trainer,
        say: Callable[[Kind, str, float | None], None],
        reborn: Callable[[], None],
    ) -> None:
        self._device = device
        self._boot = boot
        self._link = link
        self._topics = topics
        self._rows = rows
        self._models = models
        self._trainer = trainer
        self._say = say
        self._reborn = reborn
        self.inbox = ModelInbox()
        self.key: Key = NO_ROUND
        self.state: DeviceState = "ready"
        self.progress = 0.0
        self.loss: float | None = None
        self._work: asyncio.Task[None] | None = None
        self._upload: Upload | None = None
        self._known_specs: dict[tuple[str, int], tuple[TensorSpec, ...]] = {}

    # What is asked of it -------------------------------------------------------------------------------------------

    def take_part(self, manifest: Manifest, body: memoryview) -> None:
        """Carry out a manifest whose cohort names this device. The same one again means: what was sent may be lost."""
        key = (manifest.run, manifest.round, manifest.attempt, manifest.server)
        if key == self.key:
            self.send_again()
            return
        self.withdraw()
        self.key = key
        if not self._carried_out_at_once(manifest, body):
            self._start(self._carry_out(manifest, body))

    def send_again(self, parts: tuple[int, ...] = ()) -> bool:
        """Send the update (or parts of it) once more. False when there is none, or it is on its way."""
        if self._upload is None or self._work is not None:
            return False
        self._start(self._send(self._upload, parts))
        return True

    @property
    def busy(self) -> bool:
        return self._work is not None

    def withdraw(self) -> asyncio.Task[None] | None:
        """Drop whatever is being done; its outcome is not wanted any more. The task that is still ending, if any."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        self._upload = None
        self.key = NO_ROUND
        self.progress, self.loss, self.state = 0.0, None, "ready"
        return work

    # Carrying out --------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work = task
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if self._work is task:
            self._work, self.state = None, "ready"
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say("refused", f"the round could not be carried out: {type(error).__name__}: {error}", None)

    async def _carry_out(self, manifest: Manifest, body: memoryview) -> None:
        try:
            began = time.perf_counter()
            if manifest.task == "statistics" and await self._rows.load():
                # The server has to know before it counts on them.
                self._reborn()
            order = self._order(manifest, await self._global_model(manifest, body))
            download_s = time.perf_counter() - began
            self.state = "training"
            # Without a limit of its own: the server may pause, or take a late update; its next manifest ends the work.
            outcome = await self._trainer.carry_out(order, self._on_progress)
            self.state = "uploading"
            self._upload = self._pack(manifest, outcome, download_s)
            await self._send(self._upload, ())
        except BrokerError as error:
            # Not a refusal: after the reconnect the retained manifest comes again, and with it another try.
            if self._upload is None:
                self.key = NO_ROUND
            self._say("link", f"round {manifest.round} goes on when the broker is back: {error}", None)
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything; the server has to hear of it
            self._refuse(manifest, error)

    def _carried_out_at_once(self, manifest: Manifest, body: memoryview) -> bool:
        """Carry out without a task or a thread what took no time before. False when it is not of that kind."""
        if not manifest.inline:
            return False
        try:
            order = self._order(manifest, self._inline_model(manifest, body))
            if not self._trainer.is_quick(order):
                return False
            outcome = self._trainer.carry_out_now(order)
            self._upload = self._pack(manifest, outcome, 0.0)
            post_upload(self._link, self._topics, self._upload)
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything; the server has to hear of it
            self._refuse(manifest, error)
            return True
        self._say("sent", f"round {manifest.round}: update sent", outcome.loss)
        return True

    def _order(self, manifest: Manifest, vector: bytes) -> Order:
        self._rows.check_fit(manifest)
        return Order(
            device=self._device,
            round=manifest.round,
            task=manifest.task,
            vector=vector,
            specs=manifest.model.tensors if manifest.model else (),
            training=manifest.training,
            standardisation=manifest.standardisation,
        )

    def _pack(self, manifest: Manifest, outcome: Outcome, download_s: float) -> Upload:
        self.progress, self.loss = 1.0, outcome.loss
        update = Update(
            run=manifest.run,
            round=manifest.round,
            attempt=manifest.attempt,
            task=manifest.task,
            device=self._device,
            boot=self._boot,
            weight=outcome.weight,
            loss=outcome.loss,
            evaluation=outcome.evaluation,
            download_s=download_s,
            train_s=outcome.train_s,
            train_cpu_s=outcome.train_cpu_s,
        )
        return Upload(update, outcome.body, outcome.specs, self._link.status.max_packet_bytes)

    async def _send(self, upload: Upload, parts: tuple[int, ...]) -> None:
        await send_upload(self._link, self._topics, upload, parts)
        self._say("sent", f"round {upload.update.round}: update sent", upload.update.loss)

    def _refuse(self, manifest: Manifest, error: Exception) -> None:
        known = isinstance(error, RefusedError | ProtocolError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        self._say("refused", f"round {manifest.round}: {reason}", None)
        refusal = Reply(
            device=self._device,
            boot=self._boot,
            verb="round",
            ok=False,
            reason=reason[:500],
            run=manifest.run,
            round=manifest.round,
            attempt=manifest.attempt,
        )
        self._link.enqueue(self._topics.reply(self._device, "round"), encode(refusal))

    # The global model ----------------------------------------------------------------------------------------------

    def _inline_model(self, manifest: Manifest, body: memoryview) -> bytes:
        self._rows.check_fit(manifest)
        payload, training = manifest.model, manifest.training
        if payload is None or training is None:
            return b""
        # The device decides by its own model what it is ready to receive, not by what the message says.
        assembly = Assembly(payload, self._specs(training.model, len(manifest.features)))
        assembly.add(payload, body)
        return bytes(assembly.body())

    async def _global_model(self, manifest: Manifest, body: memoryview) -> bytes:
        payload, training = manifest.model, manifest.training
        if payload is None or training is None or manifest.inline:
            return self._inline_model(manifest, body)
        self._rows.check_fit(manifest)
        specs = self._specs(training.model, len(manifest.features))
        give_up_at = time.monotonic() + max(manifest.deadline_s, MODEL_PATIENCE_S)
        while True:
            try:
                async with asyncio.timeout(MODEL_PATIENCE_S):
                    return await self.inbox.get(payload, specs)
            except TimeoutError:
                if time.monotonic() >= give_up_at:
                    raise RefusedError(f"the model did not arrive within {manifest.deadline_s:.0f} s") from None
                # Subscribing makes the broker send what it retains: exactly the parts that lack.
                for part in self.inbox.missing(payload.digest):
                    topic = self._topics.model(payload.digest.hex(), part)
                    await self._link.subscribe(topic, 1)
                    await self._link.unsubscribe(topic)

    def _specs(self, model: str, features: int) -> tuple[TensorSpec, ...]:
        key = (model, features)
        if key not in self._known_specs:
            self._known_specs[key] = specs_of(self._models[model].initialise(features, seeded("shapes")))
        return self._known_specs[key]

    def _on_progress(self, share: float, loss: float) -> None:
        # Called from the training thread: two plain assignments, read by the telemetry.
        self.progress, self.loss = share, loss
