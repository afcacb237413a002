"""What a broker is like, as far as one can tell from outside: for the ladder and for `kehefl doctor`."""

from __future__ import annotations

import asyncio
import secrets
import statistics
from typing import Final

import msgspec

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.link import Inbound, Link

#: An MQTT 3.1.1 CONNECT with a clean session, no will and an empty client id: the smallest question there is.
_CONNECT: Final = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
_CONNACK: Final = 0x20
_DISCONNECT: Final = b"\xe0\x00"
#: Delayed acknowledgements of TCP come in steps of about this length.
DELAYED_ACK_S: Final = 0.035
ROUND_TRIPS: Final = 9


class BrokerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a broker. `reason` says why it does not answer; `latency_ms` is the median way there and back."""

    answers: bool
    reason: str = ""
    mqtt: str = ""
    max_packet_bytes: int | None = None
    latency_ms: float | None = None
    warnings: tuple[str, ...] = ()


async def answers(address: BrokerAddress, limit_s: float = 0.5) -> bool:
    """Whether an MQTT broker answers on a plain TCP port: an open port alone does not count."""
    writer = None
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(_CONNECT)
            answer = await reader.readexactly(4)
            writer.write(_DISCONNECT)
            return answer[0] == _CONNACK
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def probe(address: BrokerAddress, limit_s: float = 5.0) -> BrokerFacts:
    """Connect, send a message to ourselves some times, and say what was seen."""
    topic = f"kehefl/probe/{secrets.token_hex(8)}"
    came = asyncio.Event()

    def on_message(_: Inbound) -> None:
        came.set()

    link = Link(
        address, f"kehefl-probe-{topic[-8:]}", on_message=on_message, subscriptions=[(topic, 1)], persistent=False
    )
    loop = asyncio.get_running_loop()
    times = []
    try:
        async with asyncio.timeout(limit_s):
            await link.start(limit_s)
            for _ in range(ROUND_TRIPS):
                came.clear()
                began = loop.time()
                link.post(topic, b"?")
                await came.wait()
                times.append(loop.time() - began)
            status = link.status
    except BrokerError as error:
        return BrokerFacts(answers=False, reason=str(error))
    except TimeoutError:
        return BrokerFacts(answers=False, reason=f"{address.url} did not answer within {limit_s:g} s. Is it a broker?")
    finally:
        await link.close()
    latency = statistics.median(times)
    warnings = []
    if latency > DELAYED_ACK_S:
        warnings.append(
            f"Messages take {1000 * latency:.0f} ms, the step of TCP's delayed acknowledgements: set_tcp_nodelay true "
            "is missing in the broker's configuration, or the network is slow."
        )
    return BrokerFacts(
        answers=True,
        mqtt=status.mqtt,
        max_packet_bytes=status.max_packet_bytes,
        latency_ms=1000 * latency,
        warnings=tuple(warnings),
    )
