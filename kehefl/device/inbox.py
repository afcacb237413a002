"""Global models on their way in: the parts of the newest few digests, and who waits for them. No socket here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import Payload, TensorSpec
from kehefl.protocol.tensors import Assembly

#: The model of this round and the one before: more would only be memory.
KEPT_MODELS: Final = 2
#: Parts that come before their manifest said what to expect; their total size is bounded like this.
EARLY_BYTES: Final = 64 << 20


class ModelInbox:
    """Collects model parts by digest. Parts may come before or after the manifest that names the model."""

    def __init__(self) -> None:
        self._assemblies: OrderedDict[bytes, Assembly] = OrderedDict()
        self._early: OrderedDict[bytes, list[tuple[Payload, memoryview]]] = OrderedDict()
        self._early_bytes = 0
        self._arrived = asyncio.Event()

    def add(self, payload: Payload, body: memoryview) -> None:
        """Take a part; ProtocolError if it cannot belong to its model."""
        assembly = self._assemblies.get(payload.digest)
        if assembly is not None:
            assembly.add(payload, body)
            self._arrived.set()
            return
        self._early.setdefault(payload.digest, []).append((payload, body))
        self._early_bytes += len(body)
        while self._early and (len(self._early) > KEPT_MODELS or self._early_bytes > EARLY_BYTES):
            _, dropped = self._early.popitem(last=False)
            self._early_bytes -= sum(len(piece) for _, piece in dropped)

    def missing(self, digest: bytes) -> tuple[int, ...]:
        """Parts of an expected model that have not come."""
        assembly = self._assemblies.get(digest)
        return assembly.missing() if assembly else ()

    async def get(self, expected: Payload, specs: Sequence[TensorSpec]) -> bytes:
        """The tensor bytes of the expected model, as soon as all its parts are there. The caller sets the limit."""
        assembly = self._expect(expected, specs)
        while not assembly.complete:
            self._arrived.clear()
            await self._arrived.wait()
        try:
            return bytes(assembly.body())
        except ProtocolError:
            del self._assemblies[expected.digest]  # What is wrong as a whole must come anew.
            raise

    def _expect(self, expected: Payload, specs: Sequence[TensorSpec]) -> Assembly:
        assembly = self._assemblies.get(expected.digest)
        if assembly is None:
            assembly = Assembly(expected, specs)
            self._assemblies[expected.digest] = assembly
            while len(self._assemblies) > KEPT_MODELS:
                self._assemblies.popitem(last=False)
            for payload, body in self._early.pop(expected.digest, []):
                self._early_bytes -= len(body)
                try:
                    assembly.add(payload, body)
                except ProtocolError:
                    # A bad part is as good as none: the right one is still retained at the broker.
                    continue
        return assembly
