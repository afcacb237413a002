"""The parts of the transport that need no broker: addresses, sizes, classes, the outbox."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import BrokerError, UsageError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.counter import ByteCounter, packet_bytes, topic_class
from kehefl.transport.outbox import MOST_BYTES, MOST_MESSAGES, Outbox


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "username", "password"),
    [
        ("mqtt://server", "server", 1883, False, None, None),
        ("server:2000", "server", 2000, False, None, None),
        ("mqtts://10.0.0.2", "10.0.0.2", 8883, True, None, None),
        ("mqtt://pi-03:se%40cret@host:1", "host", 1, False, "pi-03", "se@cret"),
        ("mqtt://[::1]:1884/", "::1", 1884, False, None, None),
    ],
)
def test_an_address_is_parsed(
    url: str, host: str, port: int, tls: bool, username: str | None, password: str | None
) -> None:
    address = BrokerAddress.parse(url)
    assert (address.host, address.port, address.tls) == (host, port, tls)
    assert (address.username, address.password) == (username, password)


@pytest.mark.parametrize(
    "url", ["", "http://x", "mqtt://", "mqtt://h:99999", "mqtt://h/topic", "mqtt://h:x", "mqtt://h?a=1"]
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(UsageError, match="Write mqtt://HOST:1883"):
        BrokerAddress.parse(url)


def test_a_password_is_never_shown() -> None:
    address = BrokerAddress.parse("mqtt://pi:secret@host")
    assert "secret" not in f"{address!r} {address} {address.url}"
    with pytest.raises(UsageError) as refused:
        BrokerAddress.parse("mqtt://pi:secret@host:port")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("kehefl/v1/f/device/pi/status", "status"),
        ("kehefl/v1/f/device/pi/up/r/1/0", "up"),
        ("lab/kehefl/v1/f/device/pi/cmd/ping", "cmd"),
        ("kehefl/v1/f/round", "round"),
        ("kehefl/v1/f/model/ab/0", "model"),
        ("kehefl/v1/f/server/status", "server"),
        ("kehefl/v1/f/control/reply/x", "control"),
        ("kehefl/v1/f/device/pi/nonsense", "other"),
        ("something/else", "other"),
        ("kehefl/v1", "other"),
    ],
)
def test_topics_have_classes(topic: str, name: str) -> None:
    assert topic_class(topic) == name


def test_the_size_of_a_publish_packet_is_that_of_the_standard() -> None:
    # MQTT 3.1.1, QoS 1: 1 + 1 + (2 + 3) + 2 + 5 bytes.
    assert packet_bytes(3, 5, 1, 0) == 14
    # A remaining length of 128 needs a second byte for its length.
    assert packet_bytes(3, 127 - 5, 0, 0) == 2 + 127
    assert packet_bytes(3, 128 - 5, 0, 0) == 3 + 128
    assert packet_bytes(3, 5, 1, 1) == 15


@given(
    st.lists(st.tuples(st.sampled_from(["sent", "received"]), st.text(max_size=30), st.integers(0, 9999)), max_size=40)
)
def test_the_classes_add_up_to_the_totals(messages: list[tuple[str, str, int]]) -> None:
    counter = ByteCounter()
    for direction, topic, size in messages:
        counter.add(direction, topic, size, size + 7)  # type: ignore[arg-type]
    traffic = counter.snapshot()
    for index in range(4):
        assert sum(cell[index] for cell in traffic.by_class.values()) == traffic[index]
    assert traffic.sent_payload_bytes == sum(size for direction, _, size in messages if direction == "sent")


async def drained(outbox: Outbox, fail_at: int | None = None) -> list[bytes]:
    sent: list[bytes] = []

    async def publish(topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        if fail_at is not None and len(sent) == fail_at:
            raise BrokerError("lost")
        sent.append(payload)

    task = asyncio.create_task(outbox.drain(publish))
    for _ in range(50):
        await asyncio.sleep(0)
        if task.done() or not len(outbox):
            break
    task.cancel()
    await asyncio.wait([task])
    return sent


async def test_the_outbox_keeps_order_replaces_by_key_and_loses_nothing_to_a_break() -> None:
    outbox = Outbox()
    for number in range(5):
        outbox.put("t", bytes([number]), 1, False, "odd" if number % 2 else None)
    assert await drained(outbox, fail_at=2) == [b"\x00", b"\x02"]
    assert await drained(outbox) == [b"\x03", b"\x04"]


def test_the_outbox_is_bounded_and_gives_up_the_oldest() -> None:
    outbox = Outbox()
    for _ in range(MOST_MESSAGES + 10):
        outbox.put("t", b"x", 1, False, None)
    assert (len(outbox), outbox.dropped) == (MOST_MESSAGES, 10)
    outbox = Outbox()
    for _ in range(5):
        outbox.put("t", bytes(MOST_BYTES // 3), 1, False, None)
    assert len(outbox) == 3
