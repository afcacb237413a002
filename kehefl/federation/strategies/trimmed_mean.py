"""Coordinate-wise trimmed mean: Yin et al. 2018 (ICML), Definition 2: without the largest and the smallest share `beta`
of the values of each parameter. Every device counts the same.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kehefl.errors import UsageError
from kehefl.federation.strategies.base import Vector
from kehefl.federation.strategies.median import BLOCK, Median


class TrimmedMean(Median):
    """The mean of each parameter after `floor(beta * n)` values were cut off at either end."""

    name: ClassVar[str] = "trimmed-mean"

    def __init__(self, beta: float = 0.1) -> None:
        if not 0.0 <= beta < 0.5:
            raise UsageError(f"beta = {beta} trims everything: choose a share from 0 up to, not including, 0.5.")
        self.beta = beta

    def finish(self, state: list[Vector]) -> Vector:
        devices, size = len(state), len(state[0])
        # 1e-9 keeps floor(0.3 * 10) = floor(2.9999999999999996) from trimming two.
        cut = int(self.beta * devices + 1e-9)
        result = np.empty(size, np.float32)
        for begin in range(0, size, BLOCK):
            block = np.sort(np.stack([update[begin : begin + BLOCK] for update in state]), axis=0)
            result[begin : begin + BLOCK] = block[cut : devices - cut].mean(axis=0, dtype=np.float64)
        return result
