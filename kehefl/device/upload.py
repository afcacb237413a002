"""An update on its way to the server: kept until its round is over, so that any part can be sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from kehefl.errors import BrokerError
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import TensorSpec, Update
from kehefl.protocol.tensors import SINGLE_PART_BYTES, split, step_bytes
from kehefl.protocol.topics import Topics
from kehefl.transport.link import Link

#: Parts on their way at once: enough to fill the line, few enough to bound what the broker has to hold.
PARTS_IN_FLIGHT: Final = 4
#: What the envelope and the topic may take beside the tensor bytes of a packet.
ENVELOPE_BYTES: Final = 16 << 10


class Upload:
    """The update of one round, in parts that fit the broker's largest packet. Part 0 of an empty body is the header."""

    def __init__(
        self, update: Update, body: bytes, specs: Sequence[TensorSpec], max_packet_bytes: int | None = None
    ) -> None:
        self.update = update
        self._body = memoryview(body)
        limit = SINGLE_PART_BYTES if max_packet_bytes is None else max(1024, max_packet_bytes - ENVELOPE_BYTES)
        self._payloads = split(self._body, specs, limit) if specs else []
        self.parts = max(1, len(self._payloads))
        self._step = step_bytes(len(self._body), limit)

    def part(self, part: int) -> bytes:
        """The MQTT payload of one part."""
        if not self._payloads:
            return encode(self.update)
        begin = part * self._step
        body = self._body[begin : begin + self._step]
        return encode(msgspec.structs.replace(self.update, payload=self._payloads[part]), body)


def post_upload(link: Link, topics: Topics, upload: Upload) -> None:
    """Hand the one part of a small update to the link, without waiting for the broker."""
    update = upload.update
    link.post(topics.upload(update.device, update.run, update.round, 0), upload.part(0))


async def send_upload(link: Link, topics: Topics, upload: Upload, parts: Sequence[int] = ()) -> None:
    """Send the given parts, or all.

    Raises BrokerError when the link is lost meanwhile. A single small part is handed to the link without waiting for
    the broker: only the server's own answer, the next manifest, means that it has it, and it asks for what it lacks.
    """
    update = upload.update
    wanted = [part for part in parts if part < upload.parts] or list(range(upload.parts))
    if upload.parts == 1:
        post_upload(link, topics, upload)
        return
    window = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def send(part: int) -> None:
        async with window:
            topic = topics.upload(update.device, update.run, update.round, part)
            await link.publish(topic, upload.part(part), timeout_s=60.0)

    try:
        async with asyncio.TaskGroup() as group:
            for part in wanted:
                group.create_task(send(part))
    except* BrokerError as errors:
        raise BrokerError(str(errors.exceptions[0])) from None
