"""The intake: every message that reaches the server is decoded, checked and passed on, or rejected and counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, Final

from kehefl.errors import KeheflError, ProtocolError
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import (
    ControlReply,
    ControlRequest,
    DeviceStatus,
    Manifest,
    Reply,
    ServerStatus,
    Telemetry,
    Update,
)
from kehefl.protocol.topics import DeviceTopic, Topics
from kehefl.server.coordinator import Coordinator
from kehefl.server.events import DeviceTelemetry, MessageRejected
from kehefl.server.presence import Presence
from kehefl.server.registry import Registry
from kehefl.server.stream import EventStream
from kehefl.server.verbs import Verbs
from kehefl.transport.link import Inbound, Link

#: A flood of bad messages is counted in full, but shown at most so often between two calls of `tell_unshown`.
SHOWN_REJECTIONS: Final = 10


class Intake:
    """`take` is the link's `on_message`. Whatever is wrong with a message ends here."""

    def __init__(
        self,
        *,
        link: Link,
        topics: Topics,
        registry: Registry,
        coordinator: Coordinator,
        presence: Presence,
        verbs: Verbs,
        stream: EventStream,
        own: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._link = link
        self._topics = topics
        self._registry = registry
        self._coordinator = coordinator
        self._presence = presence
        self._verbs = verbs
        self._stream = stream
        self._own = own
        self._rejected = 0
        self._rejected_before_run = 0
        self._shown = 0

    def take(self, inbound: Inbound) -> None:
        """One message."""
        topic = inbound.topic
        named = self._topics.parse_device(topic)
        try:
            if named is not None:
                self._take_device_message(named, inbound)
            elif not inbound.payload:
                return  # An empty retained message clears its topic.
            elif topic == self._topics.control_request:
                request, _ = decode(inbound.payload, ControlRequest)
                if not self._presence.is_own(request):
                    self._own(self._answer(request))
            elif topic == self._topics.server_status:
                self._presence.take_status(decode(inbound.payload, ServerStatus)[0])
            elif topic == self._topics.round:
                self._coordinator.take_manifest(decode(inbound.payload, Manifest)[0])
            else:
                self._presence.take_reply(decode(inbound.payload, ControlReply)[0])
        except ProtocolError as error:
            self._reject(topic, str(error), named.device if named else "")

    def tell_unshown(self) -> None:
        """Tell of the rejections that were only counted since the last call."""
        unshown, self._shown = self._shown - SHOWN_REJECTIONS, 0
        if unshown > 0:
            self._tell_rejection("", f"{unshown} more like these", "")

    # Devices -------------------------------------------------------------------------------------------------------

    def _take_device_message(self, named: DeviceTopic, inbound: Inbound) -> None:
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
                self._take_telemetry(telemetry)
            case "status":
                if inbound.payload:  # An empty one clears the topic.
                    self._take_status(named.device, decode(inbound.payload, DeviceStatus)[0])
            case "reply":
                reply, _ = decode(inbound.payload, Reply)
                if named.rest != (reply.verb,):
                    raise ProtocolError("The reply is not the one that its topic names.")
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
        if self._registry.revive(device):
            self._device_changed(device)

    def _take_status(self, topic_device: str, status: DeviceStatus) -> None:
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

    def _take_telemetry(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        figures = (telemetry.cpu_percent, telemetry.rss_mib, telemetry.progress, meter.cpu_s, meter.peak_rss_mib)
        if not all(
            math.isfinite(figure) for figure in (*figures, telemetry.temperature_c or 0.0, telemetry.loss or 0.0)
        ):
            raise ProtocolError("The telemetry contains a figure that is not a number.")
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

    # Control -------------------------------------------------------------------------------------------------------

    async def _answer(self, request: ControlRequest) -> None:
        try:
            text = await self._verbs.carry_out(request.line, origin="ctl", marked=())
            reply = ControlReply(correlation=request.correlation, ok=True, text=text[:100_000])
        except KeheflError as error:
            reply = ControlReply(correlation=request.correlation, ok=False, text=str(error)[:100_000])
        self._link.post(self._topics.control_reply(request.reply_to), encode(reply))

    # Rejections ----------------------------------------------------------------------------------------------------

    def _reject(self, topic: str, reason: str, device: str) -> None:
        if self._coordinator.run is None:
            self._rejected_before_run = self._rejected + 1
        self._rejected += 1
        self._shown += 1
        if self._shown <= SHOWN_REJECTIONS:
            self._tell_rejection(topic[:200], reason, device[:64])

    def _tell_rejection(self, topic: str, reason: str, device: str) -> None:
        self._stream.emit(
            MessageRejected(
                topic=topic,
                reason=reason,
                total=self._rejected,
                in_run=self._rejected - self._rejected_before_run,
                device=device,
            )
        )
