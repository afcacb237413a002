"""A shard: the rows of one device, split into those it trains on and those it never trains on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kehefl.errors import UsageError

#: Of rows in the order of time, the last fifth is held out: the future is predicted from the past, as in use.
TEST_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Rows of one device: `x` float32 [n, features], `y` float32 [n], C-contiguous, in the columns' own units.

    `notes` are sentences about what was skipped while reading; they hold no values of the rows, since they are told to
    the server.
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
            digest.update(np.ascontiguousarray(rows, dtype="<f4").data)
        return digest.hexdigest()

    def limited(self, rows: int) -> Shard:
        """The same with the first `rows` training rows at most; what is held out stays. UsageError below 1."""
        if rows < 1:
            raise UsageError(f"{rows} training rows are too few. Ask for at least 1.")
        return replace(self, x_train=self.x_train[:rows].copy(), y_train=self.y_train[:rows].copy())


def shard_in_time(
    rows: NDArray[np.float32],
    *,
    name: str,
    source: str,
    simulated: bool,
    features: tuple[str, ...],
    target: str,
    notes: tuple[str, ...] = (),
) -> Shard:
    """A shard of `rows`, float32 [n, features + 1] in the order of time with the target last; n is at least 2.

    The last `TEST_SHARE` of them is held out, one row at least.
    """
    split = len(rows) - max(1, int(len(rows) * TEST_SHARE))
    return Shard(
        name=name,
        source=source,
        simulated=simulated,
        features=features,
        target=target,
        x_train=np.ascontiguousarray(rows[:split, :-1]),
        y_train=np.ascontiguousarray(rows[:split, -1]),
        x_test=np.ascontiguousarray(rows[split:, :-1]),
        y_test=np.ascontiguousarray(rows[split:, -1]),
        notes=notes,
    )
