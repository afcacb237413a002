"""The link: one MQTT connection that is kept. It connects, subscribes, backs off, and tells in words what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Self

import aiomqtt
import msgspec

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.counter import ByteCounter, packet_bytes
from kehefl.transport.outbox import Outbox
from kehefl.transport.session import RefusalError, Session, SessionOptions

#: First and longest wait before another try; between them it doubles. The wait is drawn evenly below it (full jitter),
#: so that a fleet does not come back in one wave.
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MOST_S: Final = 60.0
#: A connection that lives shorter than this was not a success, and its end does not restart the back-off.
STABLE_S: Final = 5.0
#: So many short connections in a row: MQTT 3.1.1 has no other way to say that someone else uses the same client id.
SHORT_CONNECTIONS: Final = 6
CONNECT_LIMIT_S: Final = 10.0
CLOSE_LIMIT_S: Final = 3.0

logger = logging.getLogger(__name__)


class LinkState(enum.StrEnum):
    """`lost` waits for its next try; `refused` will not try again."""

    CONNECTING = "connecting"
    UP = "up"
    LOST = "lost"
    REFUSED = "refused"
    CLOSED = "closed"


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a link in words. `retry_in_s` is the drawn wait at the moment of the change."""

    state: LinkState
    reason: str = ""
    attempt: int = 0
    retry_in_s: float | None = None
    ever_up: bool = False
    mqtt: str = ""
    session_present: bool = False
    max_packet_bytes: int | None = None


class Will(NamedTuple):
    """What the broker publishes when the connection breaks."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class Inbound(NamedTuple):
    """A received message. `packet_bytes` is the size of the whole PUBLISH packet."""

    topic: str
    payload: memoryview
    retain: bool
    packet_bytes: int


class Link:
    """Keeps one connection to a broker.

    `on_message` is called for each message in the order of arrival; the broker gets its acknowledgement when it has
    returned, or when the awaitable that it returned is done. `on_up` is awaited after each connect, when the
    subscriptions stand; there the owner publishes its birth. MQTT 5 is tried first, then 3.1.1.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        *,
        on_message: Callable[[Inbound], Awaitable[None] | None],
        subscriptions: Sequence[tuple[str, int]],
        will: Will | None = None,
        on_up: Callable[[], Awaitable[None]] | None = None,
        on_status: Callable[[LinkStatus], None] | None = None,
        keepalive_s: int = 20,
        receive_maximum: int = 64,
        persistent: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self.counter = ByteCounter()
        self.status = LinkStatus(state=LinkState.CONNECTING)
        self._on_message = on_message
        self._subscriptions = dict(subscriptions)
        self._on_up = on_up
        self._on_status = on_status
        self._options = SessionOptions(
            address=address,
            client_id=client_id,
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
            keepalive_s=keepalive_s,
            receive_maximum=receive_maximum,
            persistent=persistent,
            connect_limit_s=CONNECT_LIMIT_S,
        )
        self._mqtt = "3.1.1" if address.mqtt == "3.1.1" else "5"
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects, hides nothing
        self._outbox = Outbox()
        self._session: Session | None = None
        #: The session whose messages may already come in, before its subscriptions stand.
        self._connecting: Session | None = None
        self._handling: set[asyncio.Future[Any]] = set()
        self._run: asyncio.Task[None] | None = None
        self._closing = False
        self._changed = asyncio.Event()

    # Life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection until cancelled or closed. Raises BrokerError when trying again is pointless."""
        attempt = short = 0
        while not self._closing:
            attempt += 1
            self._set(LinkState.CONNECTING, attempt=attempt, reason=self.status.reason)
            began = asyncio.get_running_loop().time()
            try:
                await self._connection()
                reason = "the connection was closed"
            except RefusalError as refusal:
                if refusal.other_version and self._mqtt == "5" and self.address.mqtt == "auto":
                    self._mqtt = "3.1.1"
                    continue
                if refusal.final:
                    self._set(LinkState.REFUSED, reason=str(refusal))
                    raise BrokerError(str(refusal)) from None
                reason = str(refusal)
            except BrokerError as error:
                reason = str(error)
            if self._closing:
                break
            lived_s = asyncio.get_running_loop().time() - began
            was_up = self.status.state is LinkState.UP
            attempt = 0 if was_up and lived_s >= STABLE_S else attempt
            short = short + 1 if was_up and lived_s < STABLE_S else 0
            if short >= SHORT_CONNECTIONS:
                reason = (
                    f"The connection as '{self.client_id}' was closed {short} times in a row right after it was made: "
                    "another client probably uses the same id. Give this one another id, or stop the other."
                )
                self._set(LinkState.REFUSED, reason=reason)
                raise BrokerError(reason)
            delay_s = self._rng.uniform(0, min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(attempt, 6)))
            self._set(LinkState.LOST, attempt=attempt, reason=reason, retry_in_s=delay_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._until_closing()
        self._set(LinkState.CLOSED)

    async def start(self, timeout_s: float = CONNECT_LIMIT_S) -> None:
        """Run as a task of its own; returns when the link is up for the first time. BrokerError says why it is not."""
        self._run = asyncio.get_running_loop().create_task(self.run())
        up = asyncio.get_running_loop().create_task(self._until_up())
        try:
            done, _ = await asyncio.wait({self._run, up}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if self._run in done:
            self._run.result()
        if up not in done:
            reason = self.status.reason or "no answer"
            await self.close()
            raise BrokerError(
                f"No broker at {self.address.url}: {reason}. Start one (kehefl broker start), or name another with "
                "--broker."
            )

    async def close(self) -> None:
        """Disconnect in good order (no will) and end `run`. Safe to call more than once."""
        self._closing = True
        self._changed.set()
        if self._session is not None:
            self._session.leave()
        run, self._run = self._run, None
        if run is not None:
            done, _ = await asyncio.wait({run}, timeout=CLOSE_LIMIT_S)
            if not done:
                run.cancel()
                await asyncio.wait({run})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Sending -------------------------------------------------------------------------------------------------------

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, timeout_s: float = 10.0
    ) -> None:
        """Publish and wait for the broker's acknowledgement. BrokerError when refused, lost, late or too large."""
        session = self._usable(topic, payload, qos)
        await session.publish(topic, payload, qos, retain, timeout_s)

    def post(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish without waiting, for messages with an answer of their own. Dropped while the link is down."""
        session = self._session
        if session is None or not session.connected:
            return
        try:
            self._usable(topic, payload, qos)
            session.post(topic, payload, qos, retain)
        except BrokerError as error:
            logger.warning("%s", error)
            self._set(self.status.state, reason=str(error))

    def enqueue(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, key: str | None = None
    ) -> None:
        """Publish as soon as the link is up, across reconnects, in order. It replaces an older one of its key."""
        self._outbox.put(topic, payload, qos, retain, key)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe now and after each reconnect. BrokerError when the broker denies it."""
        self._subscriptions[topic_filter] = qos
        if self._session is not None:
            await self._session.subscribe([(topic_filter, qos)])

    async def unsubscribe(self, topic_filter: str) -> None:
        """The opposite."""
        self._subscriptions.pop(topic_filter, None)
        if self._session is not None:
            await self._session.unsubscribe(topic_filter)

    # Inside --------------------------------------------------------------------------------------------------------

    async def _connection(self) -> None:
        """One connection from its CONNECT to its end. Raises RefusalError or BrokerError with the reason of the end."""
        session = self._connecting = Session(self._options, self._mqtt, self._receive)
        async with session:
            if self._closing:
                return
            self._session = session
            try:
                await session.subscribe(list(self._subscriptions.items()))
                self._set(
                    LinkState.UP,
                    mqtt=self._mqtt,
                    session_present=session.session_present,
                    max_packet_bytes=session.max_packet_bytes,
                )
                if self._on_up is not None:
                    await session.unless_lost(self._on_up())
                await session.unless_lost(self._outbox.drain(self.publish))
            finally:
                self._session = None
                self._connecting = None

    def _receive(self, topic: str, payload: memoryview, qos: int, retain: bool, mid: int, property_bytes: int) -> None:
        session = self._session or self._connecting
        size = packet_bytes(len(topic.encode()), len(payload), qos, property_bytes)
        self.counter.add("received", topic, len(payload), size)
        try:
            result = self._on_message(Inbound(topic, payload, retain, size))
        except Exception:
            # The message is acknowledged all the same: delivered again, it would only fail again.
            logger.exception("handling a message on %s failed", topic)
            result = None
        if session is None or qos == 0:
            return
        if result is None:
            session.acknowledge(mid)
            return
        handling = asyncio.ensure_future(result)
        self._handling.add(handling)

        def handled(done: asyncio.Future[None]) -> None:
            self._handling.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                logger.error("handling a message on %s failed", topic, exc_info=error)
            session.acknowledge(mid)

        handling.add_done_callback(handled)

    def _usable(self, topic: str, payload: bytes, qos: int) -> Session:
        session = self._session
        if session is None or not session.connected:
            raise BrokerError(f"The broker at {self.address.url} is not connected. Wait until it is back.")
        size = packet_bytes(len(topic.encode()), len(payload), qos, session.least_property_bytes)
        limit = session.max_packet_bytes
        if limit is not None and size > limit:
            raise BrokerError(
                f"A message of {size} bytes on {topic} is larger than the broker takes ({limit} bytes). Raise its "
                "max_packet_size."
            )
        self.counter.add("sent", topic, len(payload), size)
        return session

    def _set(self, state: LinkState, **facts: Any) -> None:
        ever_up = self.status.ever_up or state is LinkState.UP
        if state is self.status.state and "mqtt" not in facts:
            facts = {
                "mqtt": self.status.mqtt,
                "session_present": self.status.session_present,
                "max_packet_bytes": self.status.max_packet_bytes,
                **facts,
            }
        self.status = LinkStatus(state=state, ever_up=ever_up, **facts)
        self._changed.set()
        if self._on_status is not None:
            self._on_status(self.status)

    async def _until_up(self) -> None:
        while self.status.state is not LinkState.UP:
            self._changed.clear()
            await self._changed.wait()

    async def _until_closing(self) -> None:
        while not self._closing:
            self._changed.clear()
            await self._changed.wait()
