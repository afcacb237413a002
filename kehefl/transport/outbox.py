"""The outbox: messages that survive a reconnect, bounded in number and bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

MOST_MESSAGES: Final = 1000
MOST_BYTES: Final = 16 << 20


class _Letter(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    key: str | None


class Outbox:
    """First in, first out. When it is full, the oldest goes: what is newest is what matters after an outage."""

    def __init__(self) -> None:
        self._letters: deque[_Letter] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        #: Messages that were given up because the outbox was full.
        self.dropped = 0

    def put(self, topic: str, payload: bytes, qos: int, retain: bool, key: str | None) -> None:
        """Add a message; one with the same key is replaced."""
        if key is not None:
            for old in [letter for letter in self._letters if letter.key == key]:
                self._remove(old)
        self._letters.append(_Letter(topic, payload, qos, retain, key))
        self._bytes += len(payload)
        while len(self._letters) > MOST_MESSAGES or self._bytes > MOST_BYTES:
            self._remove(self._letters[0])
            self.dropped += 1
        self._filled.set()

    async def drain(self, publish: Callable[..., Awaitable[None]]) -> None:
        """Send everything, and whatever is added later, until cancelled or the link fails (BrokerError).

        A message leaves the box when the broker has acknowledged it, so it may be sent twice, never lost.
        """
        while True:
            while self._letters:
                letter = self._letters[0]
                await publish(letter.topic, letter.payload, qos=letter.qos, retain=letter.retain)
                if letter in self._letters:
                    self._remove(letter)
            self._filled.clear()
            await self._filled.wait()

    def __len__(self) -> int:
        return len(self._letters)

    def _remove(self, letter: _Letter) -> None:
        self._letters.remove(letter)
        self._bytes -= len(letter.payload)
