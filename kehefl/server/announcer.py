"""What the server publishes in a run: manifests, global models, questions to silent devices."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from kehefl.errors import BrokerError
from kehefl.federation.rounds import Open
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import Manifest, ModelPart, Payload, Request
from kehefl.protocol.tensors import INLINE_BYTES, SINGLE_PART_BYTES, split, step_bytes
from kehefl.protocol.topics import Topics
from kehefl.server.run import Run
from kehefl.transport.link import Link

logger = logging.getLogger(__name__)

#: Parts of a model on their way at once.
PARTS_IN_FLIGHT: Final = 4
PART_LIMIT_S: Final = 60.0
#: A device one round behind may still be loading the model before; older ones are cleared from the broker.
RETAINED_MODELS: Final = 2
#: What the envelope and the topic may take beside the tensor bytes of a packet.
ENVELOPE_BYTES: Final = 16 << 10


class Announcer:
    """Publishes through `link`. The retained manifest is the one thing that tells a device what is asked of it."""

    def __init__(
        self, link: Link, topics: Topics, boot: str, own: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._link = link
        self._topics = topics
        self._boot = boot
        self._own = own
        self._manifest = b""
        self._model: tuple[list[Payload], memoryview] | None = None
        self._retained: deque[tuple[bytes, int]] = deque()

    def announce(self, run: Run, order: Open) -> int:
        """Publish a round; the bytes of its payloads."""
        with_model = order.task != "statistics"
        vector = run.vector if with_model else None
        payload, body, inline = None, memoryview(b""), False
        if vector is not None:
            body = memoryview(vector.astype("<f4", copy=False).data).cast("B")
            payloads = split(body, run.specs, self._part_limit())
            payload = payloads[0]
            inline = len(body) <= min(INLINE_BYTES, self._part_limit())
        manifest = Manifest(
            run=run.run,
            round=order.round,
            attempt=order.attempt,
            task=order.task,
            state="open",
            server=self._boot,
            cohort=order.cohort,
            carried=order.carried,
            deadline_s=order.deadline_s,
            inline=inline,
            model=payload,
            training=run.training_settings() if with_model else None,
            standardisation=run.standardisation,
            features=run.features,
            target=run.target,
        )
        self._manifest = encode(manifest, body if inline else b"")
        if payload is None or inline:
            self._model = None
            self._publish_manifest()
            return len(self._manifest)
        self._model = (payloads, body)
        self._own(self._publish_model_then_manifest(payload.digest, self._manifest))
        return len(self._manifest) + len(body)

    def end(self, run: Run) -> None:
        """Tell devices that nothing is asked of them any more, and clear the models from the broker."""
        machine = run.machine
        self._manifest = encode(
            Manifest(
                run=run.run,
                round=machine.round,
                attempt=machine.attempt,
                task=machine.task,
                state="ended",
                server=self._boot,
            )
        )
        self._model = None
        self._publish_manifest()
        while self._retained:
            self._clear_oldest()

    def end_foreign(self, stale: Manifest) -> None:
        """A server that is gone left an order behind: take it back, and clear the model that goes with it."""
        self._link.post(self._topics.round, encode(msgspec.structs.replace(stale, state="ended")), retain=True)
        if stale.model is not None and not stale.inline:
            self._retained.append((stale.model.digest, stale.model.parts))
            self._clear_oldest()

    def announce_again(self) -> None:
        """After a reconnect: the broker may have forgotten what it retained."""
        if self._model is not None:
            self._own(self._publish_model_then_manifest(self._model[0][0].digest, self._manifest))
        elif self._manifest:
            self._publish_manifest()

    def nudge(self, run: Run, devices: tuple[str, ...]) -> None:
        """Ask silent devices for what lacks of their update."""
        for device in devices:
            round_, attempt = run.machine.awaited(device)
            request = Request(
                correlation=secrets.token_hex(8),
                server=self._boot,
                verb="resend",
                run=run.run,
                round=round_,
                attempt=attempt,
                parts=run.missing_parts(device),
            )
            self._link.post(self._topics.command(device, "resend"), encode(request))

    def traffic(self) -> dict[str, float]:
        """Totals of the server's own link."""
        traffic = self._link.counter.snapshot()
        return {
            "sent_bytes": traffic.sent_packet_bytes,
            "received_bytes": traffic.received_packet_bytes,
            "sent_payload_bytes": traffic.sent_payload_bytes,
            "received_payload_bytes": traffic.received_payload_bytes,
        }

    def _part_limit(self) -> int:
        limit = self._link.status.max_packet_bytes
        return SINGLE_PART_BYTES if limit is None else max(1024, limit - ENVELOPE_BYTES)

    def _publish_manifest(self) -> None:
        self._link.post(self._topics.round, self._manifest, retain=True)

    async def _publish_model_then_manifest(self, digest: bytes, manifest: bytes) -> None:
        """The model first, so that whoever reads the manifest finds it there."""
        if self._model is None:
            return
        payloads, body = self._model
        step = step_bytes(len(body), self._part_limit())
        window = asyncio.Semaphore(PARTS_IN_FLIGHT)

        async def publish(payload: Payload) -> None:
            begin = payload.part * step
            async with window:
                data = encode(ModelPart(payload=payload), body[begin : begin + step])
                topic = self._topics.model(digest.hex(), payload.part)
                await self._link.publish(topic, data, retain=True, timeout_s=PART_LIMIT_S)

        if (digest, len(payloads)) not in self._retained:
            self._retained.append((digest, len(payloads)))
        try:
            async with asyncio.TaskGroup() as group:
                for payload in payloads:
                    group.create_task(publish(payload))
        except* BrokerError as errors:
            logger.info("the model is announced again when the link is up: %s", errors.exceptions[0])
            manifest = b""
        while len(self._retained) > RETAINED_MODELS:
            self._clear_oldest()
        if manifest == self._manifest:
            self._publish_manifest()

    def _clear_oldest(self) -> None:
        digest, parts = self._retained.popleft()
        for part in range(parts):
            self._link.post(self._topics.model(digest.hex(), part), b"", retain=True)
