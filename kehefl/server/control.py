"""The client side of control: one command to a running server over MQTT, as `kehefl ctl` sends it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from kehefl.errors import BrokerError, ProtocolError, RefusedError
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import ControlReply, ControlRequest
from kehefl.protocol.topics import Topics
from kehefl.transport.address import BrokerAddress
from kehefl.transport.link import Inbound, Link

ANSWER_LIMIT_S: Final = 15.0


async def control(address: BrokerAddress, topics: Topics, line: str, limit_s: float = ANSWER_LIMIT_S) -> str:
    """Send one command line and return what the server says. RefusedError with the server's own reason, BrokerError
    when the broker or the server is not there."""
    name = secrets.token_hex(8)
    correlation = secrets.token_hex(8)
    answer: asyncio.Future[ControlReply] = asyncio.get_running_loop().create_future()

    def on_message(inbound: Inbound) -> None:
        try:
            reply, _ = decode(inbound.payload, ControlReply)
        except ProtocolError:
            return  # Not an answer; the time limit stands.
        if reply.correlation == correlation and not answer.done():
            answer.set_result(reply)

    link = Link(
        address,
        f"kehefl-ctl-{name}",
        on_message=on_message,
        subscriptions=[(topics.control_reply(name), 1)],
        persistent=False,
    )
    async with link:
        request = ControlRequest(correlation=correlation, line=line, reply_to=name)
        await link.publish(topics.control_request, encode(request))
        try:
            async with asyncio.timeout(limit_s):
                reply = await answer
        except TimeoutError:
            raise BrokerError(
                f"No server of federation '{topics.federation}' answered at {address.url} within {limit_s:g} s. "
                "Start one: kehefl server, or name its federation with --federation."
            ) from None
    if not reply.ok:
        raise RefusedError(reply.text)
    return reply.text
