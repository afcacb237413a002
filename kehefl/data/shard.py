"""A shard: the rows of one device, split into those it trains on and those it never trains on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kehefl.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Rows of one device: `x` float32 [n, features], `y` float32 [n], in the columns' own units.

    `notes` are sentences about what was skipped while reading.
    """

    name: str
    source: str
    simulated: bool
    features: tuple[str, ...]
    target: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.float32]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 (hex) over column names, shapes and little-endian bytes: equal rows, equal digest."""
        digest = hashlib.sha256("\0".join((*self.features, self.target)).encode())
        for rows in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(str(rows.shape).encode())
            digest.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return digest.hexdigest()

    def limited(self, rows: int) -> Shard:
        """The same with the first `rows` training rows at most; what is held out stays. DataError below 1."""
        if rows < 1:
            raise DataError(f"{rows} training rows are too few. Ask for at least 1.")
        return replace(self, x_train=self.x_train[:rows].copy(), y_train=self.y_train[:rows].copy())
