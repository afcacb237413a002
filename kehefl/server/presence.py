"""The server's own presence on the broker: its birth, its farewell, and the question whether another one is there."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import Final

from kehefl import __version__
from kehefl.errors import RefusedError
from kehefl.protocol.envelope import encode
from kehefl.protocol.messages import ControlReply, ControlRequest, Message, ServerStatus
from kehefl.protocol.topics import Topics
from kehefl.transport.link import Link

#: Another server of the federation that is alive answers within this time.
RIVAL_LIMIT_S: Final = 2.0
FAREWELL_LIMIT_S: Final = 2.0


class Presence:
    """Says that this server is up, and keeps saying it. One federation has one server."""

    def __init__(self, link: Link, topics: Topics, boot: str) -> None:
        self._link = link
        self._topics = topics
        self._boot = boot
        self._rival: ServerStatus | None = None
        self._up = False
        self._answers: dict[str, asyncio.Future[ControlReply]] = {}

    async def claim(self) -> None:
        """Publish the birth. RefusedError when another server of this federation is alive; one that only left its birth
        behind is dead."""
        if await self._rival_answers():
            rival = self._rival
            named = f" ({rival.software} on {rival.host}, process {rival.pid})" if rival else ""
            raise RefusedError(
                f"Federation '{self._topics.federation}' already has a server{named}. Use it with kehefl ctl, stop it, "
                "or choose another name with --federation."
            )
        self._up = True
        await self._link.publish(self._topics.server_status, self._birth(), retain=True)

    async def leave(self, leftovers: list[str]) -> None:
        """Say goodbye, or, with topics that nobody needs any more, clear them all. BrokerError when nobody listens."""
        self._up = False
        if not leftovers:
            farewell = encode(ServerStatus(boot=self._boot, state="leaving", software=f"kehefl {__version__}"))
            await self._link.publish(self._topics.server_status, farewell, retain=True, timeout_s=FAREWELL_LIMIT_S)
            return
        for topic in [*leftovers, self._topics.round, self._topics.server_status]:
            await self._link.publish(topic, b"", retain=True, timeout_s=FAREWELL_LIMIT_S)

    def take_status(self, status: ServerStatus) -> None:
        """A birth, farewell or will of a server."""
        if status.boot == self._boot:
            return
        self._rival = status if status.state == "up" else None
        if self._up and status.state != "up":
            # The late will of a dead server has replaced our birth.
            self._link.post(self._topics.server_status, self._birth(), retain=True)

    def take_reply(self, reply: ControlReply) -> None:
        """An answer to a question of ours."""
        waiting = self._answers.get(reply.correlation)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def is_own(self, request: ControlRequest) -> bool:
        """Whether a control request is our own question to a rival."""
        return request.correlation in self._answers

    def _birth(self) -> bytes:
        return encode(
            ServerStatus(
                boot=self._boot,
                state="up",
                software=f"kehefl {__version__}",
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )

    async def _rival_answers(self) -> bool:
        try:
            # Retained messages come before one that is sent now: when our own comes back, we know who else is there.
            echo = ControlReply(correlation=self._boot, ok=True, text="")
            await self._ask(self._topics.control_reply(self._boot), echo, self._boot)
            if self._rival is None:
                return False
            correlation = secrets.token_hex(8)
            question = ControlRequest(correlation=correlation, line="run show", reply_to=self._boot)
            await self._ask(self._topics.control_request, question, correlation)
        except TimeoutError:
            return False
        return True

    async def _ask(self, topic: str, message: Message, correlation: str) -> None:
        answer = self._answers[correlation] = asyncio.get_running_loop().create_future()
        try:
            await self._link.publish(topic, encode(message))
            async with asyncio.timeout(RIVAL_LIMIT_S):
                await answer
        finally:
            del self._answers[correlation]
