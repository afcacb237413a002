"""Tensors on the wire: specs, one flat vector, parts and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import Payload, TensorSpec

#: Above this a tensor payload travels in parts: one MQTT message of 40 MB stalls both event loops.
SINGLE_PART_BYTES: Final = 4 << 20
PART_BYTES: Final = 1 << 20
#: Up to this a model travels inside the manifest: one message instead of two for every device.
INLINE_BYTES: Final = 16 << 10

Vector = NDArray[np.float32]
Parameters = Mapping[str, NDArray[np.float32]]


def specs_of(parameters: Parameters) -> tuple[TensorSpec, ...]:
    """Specs of float32 tensors, in the mapping's order."""
    return tuple(TensorSpec(name, "f4", tuple(value.shape)) for name, value in parameters.items())


def size_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of all tensors together."""
    total = 0
    for spec in specs:
        count = 1
        for extent in spec.shape:
            count *= extent
        total += count * (4 if spec.dtype == "f4" else 8)
    return total


def flatten(parameters: Parameters) -> Vector:
    """All tensors one after the other, as one float32 vector [P]."""
    if not parameters:
        return np.zeros(0, np.float32)
    return np.concatenate([np.asarray(value, dtype=np.float32).reshape(-1) for value in parameters.values()])


def unflatten(vector: Vector, specs: Sequence[TensorSpec]) -> dict[str, NDArray[np.float32]]:
    """Named views into `vector` (float32 [P]), shaped by `specs`."""
    parameters: dict[str, NDArray[np.float32]] = {}
    start = 0
    for spec in specs:
        count = int(np.prod(spec.shape, dtype=np.int64))
        parameters[spec.name] = vector[start : start + count].reshape(spec.shape)
        start += count
    return parameters


def split(body: memoryview, specs: Sequence[TensorSpec], max_part_bytes: int = PART_BYTES) -> list[Payload]:
    """The Payload of each part of `body`. The parts are `step_bytes` long, the last one shorter."""
    step = step_bytes(len(body), max_part_bytes)
    pieces = [body[start : start + step] for start in range(0, len(body), step)] if len(body) else [body]
    digests = [hashlib.sha256(piece).digest() for piece in pieces]
    digest = hashlib.sha256(b"".join(digests)).digest()
    return [
        Payload(
            tensors=tuple(specs),
            total_bytes=len(body),
            digest=digest,
            part=part,
            parts=len(pieces),
            part_digest=part_digest,
        )
        for part, part_digest in enumerate(digests)
    ]


def step_bytes(total_bytes: int, max_part_bytes: int) -> int:
    """Length of the parts of a payload: one part up to 4 MiB if the broker allows it, else parts of at most 1 MiB."""
    single = min(SINGLE_PART_BYTES, max_part_bytes)
    return total_bytes if total_bytes <= single else min(PART_BYTES, max_part_bytes)


class Assembly:
    """Puts the parts of one tensor payload together, in any order, and checks them.

    Memory is one buffer of the announced size; a single-part payload is not copied. `expected_specs` (and with it
    the size) is decided by the receiver beforehand, so that a sender cannot make it allocate more.
    """

    def __init__(self, first: Payload, expected_specs: Sequence[TensorSpec]) -> None:
        if tuple(first.tensors) != tuple(expected_specs):
            raise ProtocolError(
                f"The tensors have the wrong shape: got {_shapes(first.tensors)}, expected {_shapes(expected_specs)}."
            )
        if first.total_bytes != size_bytes(expected_specs):
            raise ProtocolError("The announced size of the tensors does not match their shapes.")
        if first.parts > max(1, first.total_bytes):
            raise ProtocolError("The message announces more parts than bytes.")
        self.digest = first.digest
        self.parts = first.parts
        self.total_bytes = first.total_bytes
        self._digests: dict[int, bytes] = {}
        self._pieces: dict[int, memoryview] = {}
        self._buffer: bytearray | None = None
        self._step: int | None = None
        self._last_start: int | None = None

    def add(self, payload: Payload, body: memoryview) -> bool:
        """Take one part; True when it was new. Raises ProtocolError for a part that cannot belong here."""
        if payload.digest != self.digest or payload.parts != self.parts or payload.total_bytes != self.total_bytes:
            raise ProtocolError("The part belongs to another transfer.")
        if payload.part >= self.parts:
            raise ProtocolError(f"Part {payload.part} of {self.parts} cannot exist.")
        if payload.part in self._digests:
            return False
        self._check_length(payload, len(body))
        if hashlib.sha256(body).digest() != payload.part_digest:
            raise ProtocolError(f"Part {payload.part} does not match its digest.")
        if self.parts == 1:
            self._pieces[0] = body
        else:
            if payload.part < self.parts - 1:
                self._step = len(body)
            if self._buffer is None:
                self._buffer = bytearray(self.total_bytes)
            start = payload.part * (self._step or 0)
            if payload.part == self.parts - 1:
                start = self._last_start = self.total_bytes - len(body)
            self._buffer[start : start + len(body)] = body
        self._digests[payload.part] = payload.part_digest
        return True

    def missing(self) -> tuple[int, ...]:
        """The parts that have not come yet."""
        return tuple(part for part in range(self.parts) if part not in self._digests)

    @property
    def complete(self) -> bool:
        return len(self._digests) == self.parts

    def body(self) -> memoryview:
        """The whole payload; ProtocolError if the parts do not make up the announced digest."""
        joined = b"".join(self._digests[part] for part in range(self.parts))
        if hashlib.sha256(joined).digest() != self.digest:
            raise ProtocolError("The parts do not match the digest of the whole.")
        if self.parts == 1:
            return self._pieces[0]
        if self._last_start != (self.parts - 1) * (self._step or 0):
            raise ProtocolError("The parts do not fit together without a gap or an overlap.")
        return memoryview(self._buffer or b"")

    def _check_length(self, payload: Payload, length: int) -> None:
        if self.parts == 1:
            fits = length == self.total_bytes
        else:
            step = -(-self.total_bytes // self.parts)
            if payload.part < self.parts - 1:
                # Every part but the last has the same length; the first good one tells it.
                fits = (
                    length == (self._step or length) and step <= length and (self.parts - 1) * length < self.total_bytes
                )
            else:
                fits = 0 < length <= step
        if not fits:
            raise ProtocolError(f"Part {payload.part} has {length} bytes, which does not fit the announced size.")


def read_vector(body: memoryview, specs: Sequence[TensorSpec]) -> Vector:
    """The float32 tensors of a complete payload as one read-only vector [P]; ProtocolError on NaN or infinity."""
    if any(spec.dtype != "f4" for spec in specs):
        raise ProtocolError("Model tensors must be float32.")
    return _finite(np.frombuffer(body, dtype="<f4"))


def read_sums(body: memoryview) -> NDArray[np.float64]:
    """The float64 tensor of a statistics payload as a vector; ProtocolError on NaN or infinity."""
    return _finite(np.frombuffer(body, dtype="<f8"))


def _finite(vector: NDArray[Any]) -> NDArray[Any]:
    # One pass and no temporary of the vector's size: a sum is finite only if every element is. A sum may overflow
    # although all are finite, so a doubtful one is looked at element by element.
    with np.errstate(over="ignore", invalid="ignore"):
        doubtful = vector.size and not np.isfinite(vector.sum(dtype=np.float64))
    if doubtful and not np.isfinite(vector).all():
        raise ProtocolError("The tensors contain NaN or infinity.")
    return vector


def _shapes(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name}{list(spec.shape)}:{spec.dtype}" for spec in specs) or "none"
