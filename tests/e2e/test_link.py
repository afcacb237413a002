"""The link on real brokers: what is kept, what is told, what ends it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.broker import obtain_broker
from kehefl.transport.link import Inbound, Link, LinkState, LinkStatus, Will
from kehefl.transport.mosquitto import find_mosquitto, free_port, start_mosquitto

LIMIT_S = 10.0


class Box:
    """What a link received, and waiting for it."""

    def __init__(self) -> None:
        self.got: list[Inbound] = []
        self._changed = asyncio.Event()

    def take(self, inbound: Inbound) -> None:
        self.got.append(inbound)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                waiting = asyncio.create_task(self._changed.wait())
                await asyncio.wait({waiting}, timeout=0.05)
                waiting.cancel()


def name() -> str:
    return f"link-{secrets.token_hex(4)}"


@asynccontextmanager
async def linked(address: BrokerAddress, topic: str, box: Box, **options: object) -> AsyncIterator[Link]:
    link = Link(address, name(), on_message=box.take, subscriptions=[(topic, 1)], **options)  # type: ignore[arg-type]
    async with link:
        yield link


@asynccontextmanager
async def mosquitto_with(folder: Path, *lines: str) -> AsyncIterator[BrokerAddress]:
    """A mosquitto with a configuration of the test's own."""
    program = find_mosquitto()
    assert program
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *lines]) + "\n")
    process = await asyncio.create_subprocess_exec(program, "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
    address = BrokerAddress(host="127.0.0.1", port=port)
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        yield address
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
async def test_messages_come_unaltered_and_are_counted_to_the_byte(mosquitto: BrokerAddress, mqtt: str) -> None:
    wire = [0, 0]
    topic = f"t/{name()}"

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, index: int) -> None:
        while data := await reader.read(1 << 16):
            wire[index] += len(data)
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(mosquitto.host, mosquitto.port)
        await asyncio.gather(pump(reader, back, 0), pump(there, writer, 1), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        box = Box()
        address = BrokerAddress(host="127.0.0.1", port=port, mqtt=mqtt)  # type: ignore[arg-type]
        async with linked(address, topic, box) as link:
            assert link.status.mqtt == mqtt
            payloads = [b"", b"x", secrets.token_bytes(120), secrets.token_bytes(20_000), secrets.token_bytes(3 << 20)]
            await link.publish(topic, b"first")
            await box.until(lambda: len(box.got) == 1)
            await link.subscribe(f"{topic}/more")  # Its answer comes after everything that was said before.
            before, counted = list(wire), link.counter.snapshot()
            for payload in payloads:
                await link.publish(topic, payload)
            await box.until(lambda: len(box.got) == 1 + len(payloads))
            assert [bytes(inbound.payload) for inbound in box.got[1:]] == payloads
            # Beside the PUBLISH packets travel their acknowledgements: 4 bytes each, either way.
            acks = 4 * len(payloads)
            await box.until(
                lambda: wire[0] - before[0] >= link.counter.snapshot().sent_packet_bytes - counted[0] + acks
            )
            await box.until(
                lambda: wire[1] - before[1] >= link.counter.snapshot().received_packet_bytes - counted[1] + acks
            )
            traffic = link.counter.snapshot()
            assert wire[0] - before[0] == traffic.sent_packet_bytes - counted.sent_packet_bytes + acks
            assert wire[1] - before[1] == traffic.received_packet_bytes - counted.received_packet_bytes + acks
            assert traffic.sent_payload_bytes - counted.sent_payload_bytes == sum(map(len, payloads))


async def test_it_comes_back_after_the_broker_with_birth_subscriptions_and_outbox() -> None:
    program = find_mosquitto()
    assert program
    port = free_port()
    address, stop = await start_mosquitto(program, port)
    births: list[str] = []
    states: list[LinkStatus] = []
    box = Box()
    link = Link(
        address, name(), on_message=box.take, subscriptions=[("a/#", 1)], on_status=states.append,
        on_up=lambda: birth(births),
    )  # fmt: skip
    async with link:
        await link.subscribe("b/#")
        await stop()
        await box.until(lambda: link.status.state is LinkState.LOST)
        assert link.status.retry_in_s is not None
        assert link.status.ever_up
        with pytest.raises(BrokerError, match="not connected"):
            await link.publish("a/x", b"lost")
        link.enqueue("a/x", b"kept")
        link.enqueue("b/x", b"old", key="k")
        link.enqueue("b/x", b"new", key="k")
        address, stop = await start_mosquitto(program, port)
        await box.until(lambda: len(box.got) == 2)
        assert [bytes(inbound.payload) for inbound in box.got] == [b"kept", b"new"]
        assert births == ["born", "born"]
    await stop()
    assert states[-1].state is LinkState.CLOSED


async def birth(births: list[str]) -> None:
    births.append("born")


async def test_a_publish_on_its_way_fails_at_once_when_the_broker_dies(tmp_path: Path) -> None:
    """A broker that takes a message and never acknowledges it, then goes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read(1 << 16)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = BrokerAddress(host="127.0.0.1", port=port, mqtt="3.1.1")
        link = Link(address, name(), on_message=lambda _: None, subscriptions=[])
        await link.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(BrokerError, match="not acknowledged"):
            await link.publish("a", b"x", timeout_s=30)
        assert loop.time() - began < 5
        await link.close()


async def test_what_is_not_handled_yet_is_held_back_by_the_broker_and_nothing_is_lost(mosquitto: BrokerAddress) -> None:
    topic, begun, handled, go_on = f"t/{name()}", [], [], asyncio.Event()

    async def slowly(inbound: Inbound) -> None:
        begun.append(inbound)
        await go_on.wait()
        handled.append(bytes(inbound.payload))

    receiver = Link(mosquitto, name(), on_message=slowly, subscriptions=[(topic, 1)], receive_maximum=8)
    box = Box()
    async with receiver, linked(mosquitto, f"{topic}/none", box) as sender:
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(sender.publish(topic, str(number).encode()))
        # The broker has all of them, and answers this only after it has sent whatever it was willing to send.
        await receiver.subscribe(f"{topic}/other")
        assert len(begun) == 8
        go_on.set()
        await box.until(lambda: len(handled) == 300)
    assert sorted(int(payload) for payload in handled) == list(range(300))


async def test_a_handler_that_raises_ends_nothing(mosquitto: BrokerAddress, caplog: pytest.LogCaptureFixture) -> None:
    topic, box = f"t/{name()}", Box()

    def take(inbound: Inbound) -> Awaitable[None] | None:
        if bytes(inbound.payload) == b"bad":
            raise ValueError("on purpose")
        box.take(inbound)
        return None

    async with Link(mosquitto, name(), on_message=take, subscriptions=[(topic, 1)]) as link:
        for payload in (b"bad", b"good"):
            await link.publish(topic, payload)
        await box.until(lambda: box.got)
    assert "on purpose" in caplog.text


async def test_access_rules_that_deny_are_told(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic readwrite open/#\ntopic read closed/#\n")
    async with mosquitto_with(tmp_path, "allow_anonymous true", f"acl_file {tmp_path / 'acl'}") as address:
        box = Box()
        async with linked(address, "open/a", box) as link:
            await link.publish("open/a", b"x")
            with pytest.raises(BrokerError, match="access rules"):
                await link.publish("closed/a", b"x")


async def test_a_wrong_password_stops_the_tries_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    async with mosquitto_with(tmp_path, f"password_file {tmp_path / 'passwords'}", "allow_anonymous false") as address:
        with_password = msgspec.structs.replace(address, username="pi-03", password="wrong")
        for given, user in ((with_password, "pi-03"), (address, "pi-99")):
            link = Link(given, "pi-99", on_message=lambda _: None, subscriptions=[])
            with pytest.raises(BrokerError, match=f"kehefl broker add-device {user}") as refused:
                await link.start()
            assert "wrong" not in str(refused.value)
            assert link.status.state is LinkState.REFUSED


async def test_a_message_larger_than_the_broker_takes_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with mosquitto_with(tmp_path, "allow_anonymous true", "max_packet_size 2000") as address:
        box = Box()
        async with linked(address, "t", box) as link:
            assert link.status.max_packet_bytes == 2000
            with pytest.raises(BrokerError, match="larger than the broker takes"):
                await link.publish("t", bytes(3000))
            await link.publish("t", bytes(1900))
            await box.until(lambda: box.got)


async def test_a_broker_that_speaks_only_the_older_version_is_spoken_to_in_it() -> None:
    handle = await obtain_broker(environ={}, exclude=frozenset({"found", "mosquitto"}))
    try:
        address = msgspec.structs.replace(handle.address, mqtt="auto")
        box = Box()
        async with linked(address, "t/#", box) as link:
            assert link.status.mqtt == "3.1.1"
            await link.publish("t/x", b"x")
            await box.until(lambda: box.got)
    finally:
        await handle.stop()


@pytest.mark.parametrize("behaviour", ["closes", "talks http", "says nothing", "is not there"])
async def test_what_is_no_broker_is_told_in_bounded_time(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kehefl.transport.link.CONNECT_LIMIT_S", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if behaviour == "talks http":
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if behaviour == "says nothing":
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1] if behaviour != "is not there" else free_port()
        link = Link(BrokerAddress(host="127.0.0.1", port=port), name(), on_message=lambda _: None, subscriptions=[])
        with pytest.raises(BrokerError, match=f"No broker at mqtt://127.0.0.1:{port}: .*kehefl broker start"):
            await link.start(2.0)
        await link.close()


async def test_leaving_in_good_order_sends_no_will_and_being_cut_off_does(mosquitto: BrokerAddress) -> None:
    topic, box = f"t/{name()}", Box()
    async with linked(mosquitto, topic, box):
        leaving = Link(
            mosquitto, name(), on_message=lambda _: None, subscriptions=[], will=Will(topic, b"will", retain=False)
        )
        async with leaving:
            pass
        cut = Link(
            mosquitto, name(), on_message=lambda _: None, subscriptions=[], will=Will(topic, b"cut", retain=False)
        )
        async with cut:
            assert cut._session is not None
            cut._session._paho._sock_close()
            await box.until(lambda: box.got)
    assert [bytes(inbound.payload) for inbound in box.got] == [b"cut"]


async def test_messages_with_properties_arrive_too(mosquitto: BrokerAddress) -> None:
    topic, box = f"t/{name()}", Box()
    async with linked(mosquitto, topic, box):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect(mosquitto.host, mosquitto.port)
        client.loop_start()
        properties = paho.Properties(paho.PacketTypes.PUBLISH)
        properties.UserProperty = ("who", "paho")
        client.publish(topic, b"with", 1, properties=properties)
        await box.until(lambda: box.got)
        client.loop_stop()
        client.disconnect()
    assert bytes(box.got[0].payload) == b"with"


async def test_closing_is_safe_at_any_moment(mosquitto: BrokerAddress) -> None:
    for address in (mosquitto, BrokerAddress(host="127.0.0.1", port=free_port())):
        for turns in (0, 1, 3, 10, 50):
            link = Link(address, name(), on_message=lambda _: None, subscriptions=[("t", 1)])
            task = asyncio.create_task(link.run())
            for _ in range(turns):
                await asyncio.sleep(0.001)
            await link.close()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
            assert not task.cancelled()
            await link.close()
