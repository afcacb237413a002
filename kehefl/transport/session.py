"""One connection to a broker, from CONNECT to its end; a new one for each try.

aiomqtt makes and ends the connection. Publishing and receiving go straight to its paho client, which is reached
through one private attribute: that is where manual acknowledgement, reason codes and session facts are.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Self, cast

import aiomqtt
import msgspec
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_ERR_QUEUE_SIZE, MQTT_ERR_SUCCESS, ConnectFlags, MQTTMessage
from paho.mqtt.client import Client as Paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.wire import Receive, Wire

#: How long the broker keeps subscriptions and undelivered messages for us after a break.
SESSION_EXPIRY_S: Final = 3600
#: paho sends so many QoS 1 messages before the first is acknowledged; the rest waits in its queue.
SENT_IN_FLIGHT: Final = 1000

# MQTT 5, section 3.2.2.2; paho gives the codes of 3.1.1 as their MQTT 5 equals.
_NOT_AUTHORISED: Final = 0x87
_BANNED: Final = 0x8A
_TAKEN_OVER: Final = 0x8E
_FAILURE: Final = 0x80


class RefusalError(BrokerError):
    """The broker said no, or the connection ended. `final`: trying again is pointless. `other_version`: it may speak
    the other MQTT version."""

    def __init__(self, text: str, *, final: bool = False, other_version: bool = False) -> None:
        super().__init__(text)
        self.final = final
        self.other_version = other_version


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What all connections of a link have in common."""

    address: BrokerAddress
    client_id: str
    will: Any
    keepalive_s: int
    receive_maximum: int
    persistent: bool
    connect_limit_s: float


class Session:
    """`async with` connects and disconnects; leaving the block in any way leaves nothing behind."""

    def __init__(self, options: SessionOptions, mqtt: str, receive: Receive) -> None:
        self._options = options
        self._five = mqtt == "5"
        self._receive = receive
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._final_reason = ""
        self._leaving = False
        self._client = self._make_client()
        self._paho: Paho = self._client._client
        self._paho.manual_ack_set(True)
        self._paho.max_inflight_messages_set(SENT_IN_FLIGHT)
        self._chain_callbacks()
        self.session_present = False
        self.max_packet_bytes: int | None = None

    @property
    def connected(self) -> bool:
        return not self._lost.done() and not self._leaving

    @property
    def least_property_bytes(self) -> int:
        """Bytes of an empty property list."""
        return 1 if self._five else 0

    async def __aenter__(self) -> Self:
        address = self._options.address
        try:
            await self._client.__aenter__()
        except MqttConnectError as error:
            raise self._refused(error.rc) from None
        except aiomqtt.MqttError as error:
            if self._lost.done():
                raise RefusalError(
                    f"{address.url} closed the connection before it answered", other_version=True
                ) from None
            text = re.sub(r"\[Errno -?\d+\] ", "", str(error))
            if text == "Operation timed out":
                text = "it accepts connections but does not answer; is it an MQTT broker?"
            raise RefusalError(f"{address.url}: {text}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        self._fail_pending("the connection ended")
        self._leaving = True
        if self._lost.done():
            for told in (self._client._connected, self._client._disconnected):
                if told.done() and not told.cancelled():
                    told.exception()  # We know already; asyncio would complain that nobody asked.
            return
        with contextlib.suppress(aiomqtt.MqttError):
            # Ends in good order: the broker discards the will.
            await asyncio.shield(asyncio.ensure_future(self._client.__aexit__(None, None, None)))

    def leave(self) -> None:
        """End the connection; whoever waits in `unless_lost` returns."""
        if not self._lost.done():
            self._leaving = True
            self._lost_event.set()

    async def unless_lost(self, work: Awaitable[None]) -> None:
        """Await `work`, but no longer than the connection lives: RefusalError with the reason of its end; returns on
        `leave`."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._lost_event.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                raise RefusalError(self._lost.result(), final=bool(self._final_reason))
            if task.done():
                task.result()
        finally:
            for waiting in (task, ended):
                waiting.cancel()
            await asyncio.wait({task, ended})

    # Sending -------------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool, timeout_s: float) -> None:
        """Publish and wait for the acknowledgement, racing it against the end of the connection."""
        info = self._paho.publish(topic, payload, qos, retain)
        self._check(info.rc, topic)
        if qos == 0:
            return
        acknowledged = self._pending[info.mid] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await acknowledged
        except TimeoutError:
            raise BrokerError(
                f"The broker at {self._options.address.url} did not acknowledge a message on {topic} within "
                f"{timeout_s:g} s. Look at its load and its log."
            ) from None
        finally:
            self._pending.pop(info.mid, None)

    def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Hand a message over without waiting."""
        self._check(self._paho.publish(topic, payload, qos, retain).rc, topic)

    def acknowledge(self, mid: int) -> None:
        """Tell the broker that a received QoS 1 message was handled."""
        if self.connected:
            self._paho.ack(mid, 1)

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        """Subscribe and check each answer. RefusalError (final) when the broker's access rules deny one."""
        if not filters:
            return
        try:
            codes = await self._client.subscribe(list(filters))
        except (aiomqtt.MqttError, ValueError) as error:
            raise RefusalError(f"subscribing at {self._options.address.url} failed: {error}") from None
        for (topic_filter, _), code in zip(filters, codes, strict=False):
            value: int = code.value if isinstance(code, ReasonCode) else code  # type: ignore[assignment]
            if value >= _FAILURE:
                raise RefusalError(
                    f"The broker at {self._options.address.url} does not let '{self._options.client_id}' read "
                    f"{topic_filter}. Change its access rules, or use the credentials of this device.",
                    final=True,
                )

    async def unsubscribe(self, topic_filter: str) -> None:
        with contextlib.suppress(aiomqtt.MqttError):  # A lost connection has no subscriptions either.
            await self._client.unsubscribe(topic_filter)

    # Inside --------------------------------------------------------------------------------------------------------

    def _make_client(self) -> aiomqtt.Client:
        options, address = self._options, self._options.address
        context = None
        if address.tls:
            import ssl  # Only where it is asked for: it costs a device memory.

            try:
                context = ssl.create_default_context(cafile=address.ca_file)
                if address.cert_file:
                    context.load_cert_chain(address.cert_file, address.key_file)
            except (OSError, ssl.SSLError) as error:
                raise RefusalError(f"The certificates for {address.url} cannot be used: {error}.", final=True) from None
        version: dict[str, Any] = {"clean_session": not options.persistent}
        if self._five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S if options.persistent else 0
            properties.ReceiveMaximum = options.receive_maximum
            version = {"clean_start": not options.persistent, "properties": properties}
        # As bytes, a plain host name does not pull in the IDNA tables: half a megabyte of a device's memory.
        plain = address.host.isascii() and not address.tls
        return aiomqtt.Client(
            cast(str, address.host.encode()) if plain else address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self._five else aiomqtt.ProtocolVersion.V311,
            will=options.will,
            keepalive=options.keepalive_s,
            timeout=options.connect_limit_s,
            tls_context=context,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            **version,
        )

    def _chain_callbacks(self) -> None:
        self._lost_event = asyncio.Event()
        paho, client = self._paho, self._client
        connected, disconnected = paho.on_connect, paho.on_disconnect

        def on_connect(
            source: Paho, userdata: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None = None
        ) -> None:
            self.session_present = flags.session_present
            self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
            if connected is not None:
                connected(source, userdata, flags, code, properties)  # type: ignore[call-arg,arg-type]

        def on_disconnect(source: Paho, userdata: Any, flags: Any, code: ReasonCode, properties: Any = None) -> None:
            self._end(code)
            waiting = client._connected
            if not waiting.done():
                waiting.set_exception(aiomqtt.MqttError("closed before CONNACK"))
            if disconnected is not None:
                disconnected(source, userdata, flags, code, properties)  # type: ignore[call-arg,arg-type]

        paho.on_connect = on_connect
        paho.on_disconnect = on_disconnect
        paho.on_message = self._on_rare_message
        paho.on_publish = self._on_publish
        self._wire = Wire(client, self._receive, five=self._five, tls=self._options.address.tls)

    def _on_rare_message(self, _: Paho, __: Any, message: MQTTMessage) -> None:
        """What the wire left to paho: messages with properties."""
        properties = message.properties
        size = len(properties.pack()) if properties is not None else 0  # type: ignore[no-untyped-call]
        self._receive(message.topic, memoryview(message.payload), message.qos, bool(message.retain), message.mid, size)

    def _on_publish(self, _: Paho, __: Any, mid: int, code: ReasonCode, ___: Any = None) -> None:
        waiting = self._pending.get(mid)
        if waiting is None or waiting.done():
            return
        if code.value >= _FAILURE:
            address, client = self._options.address.url, self._options.client_id
            waiting.set_exception(
                BrokerError(
                    f"The broker at {address} refused a message of '{client}' ({code}). If its access rules deny the "
                    "topic, change them, or use the credentials of this device."
                )
            )
        else:
            waiting.set_result(None)

    def _end(self, code: ReasonCode) -> None:
        if self._lost.done():
            return
        address = self._options.address.url
        if code.value == _TAKEN_OVER:
            self._final_reason = (
                f"Another client connected to {address} as '{self._options.client_id}' and took this session over. "
                "Give one of them another id."
            )
        elif code.value in {_NOT_AUTHORISED, _BANNED}:
            self._final_reason = f"The broker at {address} ended the connection ({code}). Ask whoever runs it."
        reason = self._final_reason or f"the connection to {address} was lost ({str(code).lower()})"
        self._lost.set_result(reason)
        self._lost_event.set()
        self._fail_pending(reason)

    def _fail_pending(self, reason: str) -> None:
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(BrokerError(f"A message was not acknowledged: {reason}. It is tried again."))

    def _refused(self, code: int | ReasonCode | Any) -> RefusalError:
        value = code.value if isinstance(code, ReasonCode) else int(code)
        address, user = self._options.address, self._options.address.username or self._options.client_id
        where = f"Broker at {address.host}:{address.port}"
        match value:
            case 0x84 | 1:
                other = "" if self._five else " Choose another broker."
                return RefusalError(
                    f"{where} does not speak MQTT {'5' if self._five else '3.1.1'}.{other}",
                    other_version=self._five,
                    final=not self._five or address.mqtt == "5",
                )
            case 0x86:
                return RefusalError(
                    f"{where} refused the password for '{user}'. Enrol it: kehefl broker add-device {user}", final=True
                )
            case 0x87:
                return RefusalError(
                    f"{where} does not let '{user}' in. Enrol it: kehefl broker add-device {user}, and give its user "
                    "and password with --broker mqtt://USER:PASSWORD@HOST.",
                    final=True,
                )
            case 0x85 | 0x8A:
                return RefusalError(
                    f"{where} does not accept the client id '{self._options.client_id}' ({code}).", final=True
                )
            case _:
                return RefusalError(f"{where} cannot take connections now ({code})")

    def _check(self, code: int, topic: str) -> None:
        if code not in {MQTT_ERR_SUCCESS, MQTT_ERR_QUEUE_SIZE}:
            raise BrokerError(f"A message on {topic} could not be sent: the connection is lost. It is tried again.")
