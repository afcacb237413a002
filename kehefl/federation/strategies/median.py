"""Coordinate-wise median: Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates"
(ICML), Definition 1. Every device counts the same, whatever its rows: a weight could be lied about.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kehefl.federation.strategies.base import Strategy, Vector

#: Coordinates sorted at a time, so that the temporary copy is small beside the updates themselves.
BLOCK = 1 << 16


class Median(Strategy):
    """The median of each parameter over the devices (the mean of the middle two for an even number)."""

    name: ClassVar[str] = "median"
    needs_all: ClassVar[bool] = True

    def start(self, size: int) -> list[Vector]:
        del size
        return []

    def fold(self, state: list[Vector], update: Vector, weight: float) -> list[Vector]:
        del weight
        state.append(update)
        return state

    def finish(self, state: list[Vector]) -> Vector:
        size = len(state[0])
        result = np.empty(size, np.float32)
        for begin in range(0, size, BLOCK):
            block = np.stack([update[begin : begin + BLOCK] for update in state])
            result[begin : begin + BLOCK] = np.median(block, axis=0)
        return result
