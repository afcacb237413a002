"""Global models on disk: one `.safetensors` file a round, whole or not there, readable by other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from kehefl.errors import DataError
from kehefl.protocol.messages import Standardisation, TensorSpec
from kehefl.protocol.tensors import Vector, unflatten

#: Every round of a small model is kept; of a larger one the newest two, since twenty rounds of 40 MB fill an SD card.
KEEP_ALL_BELOW_BYTES = 1 << 20
KEPT_ROUNDS = 2


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself. Nothing of time or run: equal models make equal files."""

    model: str
    features: tuple[str, ...]
    target: str
    standardisation: Standardisation


class Saved(NamedTuple):
    """A written checkpoint: its path relative to the state directory, and the SHA-256 of the file."""

    path: str
    sha256: str


class Checkpoints:
    """Checkpoints below `state`/checkpoints."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._root = state / "checkpoints"

    def sweep(self) -> int:
        """Remove half-written files that a killed server left; their number."""
        torn = list(self._root.glob("*/*.tmp"))
        for path in torn:
            path.unlink(missing_ok=True)
        return len(torn)

    def save(self, run: str, round_: int, vector: Vector, specs: Sequence[TensorSpec], about: About) -> Saved:
        """Write the global model (float32 [P]) of a round. OSError when the disk does not take it."""
        # One metadata key: safetensors writes several in an order of its own, and equal models must be equal files.
        data = save(unflatten(vector, specs), metadata={"kehefl": msgspec.json.encode(about).decode()})
        directory = self._root / run
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / f"round-{round_:04d}.safetensors"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
        if len(data) >= KEEP_ALL_BELOW_BYTES:
            for old in sorted(directory.glob("round-*.safetensors"))[:-KEPT_ROUNDS]:
                old.unlink(missing_ok=True)
        return Saved(str(path.relative_to(self._state)), hashlib.sha256(data).hexdigest())

    def absolute(self, path: str) -> Path:
        """The file of a checkpoint's relative path."""
        return self._state / path

    def load(self, path: str, sha256: str) -> tuple[dict[str, NDArray[np.float32]], About]:
        """The parameters of a checkpoint and what it says of itself. DataError if it is not what was recorded."""
        file = self._state / path
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DataError(f"The checkpoint {file} cannot be read: {error}. Start the run anew.") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"The checkpoint {file} is not the one that was recorded. Start the run anew.")
        try:
            header_bytes = int.from_bytes(data[:8], "little")
            header = msgspec.json.decode(data[8 : 8 + header_bytes])
            about = msgspec.json.decode(header["__metadata__"]["kehefl"], type=About)
            tensors = load(data)
        except (SafetensorError, msgspec.MsgspecError, KeyError) as error:
            raise DataError(f"The checkpoint {file} is not a kehefl model: {error}. Start the run anew.") from error
        return {name: np.asarray(value, np.float32) for name, value in tensors.items()}, about
