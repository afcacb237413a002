"""The fold of one round: in device order while the updates fit a bounded buffer, in arrival order beyond it.

Floating-point addition is not associative: only a fixed order gives the same bits whatever order updates arrive in.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kehefl.federation.strategies import Strategy, Vector

FOLD_BUFFER_BYTES: Final = 256 << 20


class Fold:
    """Takes the updates of one round; memory is bounded by `buffer_bytes` plus the strategy's own state."""

    def __init__(self, strategy: Strategy, size: int, buffer_bytes: int = FOLD_BUFFER_BYTES) -> None:
        self._strategy = strategy
        self._size = size
        self._buffer_bytes = buffer_bytes
        self._waiting: dict[str, tuple[Vector, float]] = {}
        self._held_bytes = 0
        self._state: object | None = None
        #: True while the result depends on the updates alone and not on the order of their arrival.
        self.exact_order = True

    def add(self, device: str, update: Vector, weight: float) -> None:
        """Take the update of `device` (float32 [size]) with its weight above 0."""
        self._waiting[device] = (update, weight)
        self._held_bytes += update.nbytes
        if self._held_bytes > self._buffer_bytes and not self._strategy.needs_all:
            self.exact_order = False
            self._drain()

    def result(self) -> Vector:
        """The new global model, float32 [size]. At least one update must have been added."""
        self._drain()
        return self._strategy.finish(self._state)

    def _drain(self) -> None:
        state = self._strategy.start(self._size) if self._state is None else self._state
        for device in sorted(self._waiting):
            update, weight = self._waiting[device]
            state = self._strategy.fold(state, update, weight)
        self._state = state
        self._waiting.clear()
        self._held_bytes = 0


def change_norm(before: Vector, after: Vector) -> float:
    """Euclidean norm of the change a round made to the global model."""
    return float(np.linalg.norm(after.astype(np.float64) - before))
