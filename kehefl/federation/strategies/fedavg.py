"""Federated averaging: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data"
(AISTATS), Algorithm 1: `w <- sum_k (n_k / n) w_k`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kehefl.federation.strategies.base import Strategy, Vector

#: Elements folded at a time: float64 temporaries of this size stay in the cache.
BLOCK = 1 << 16


class Average(NamedTuple):
    """Weighted sum [P] and total weight, both float64."""

    total: NDArray[np.float64]
    weight: float


class FedAvg(Strategy):
    """The mean of the updates, weighted by training rows. Sums in float64, so equal updates give exactly themselves."""

    name: ClassVar[str] = "fedavg"

    def start(self, size: int) -> Average:
        return Average(np.zeros(size, np.float64), 0.0)

    def fold(self, state: Average, update: Vector, weight: float) -> Average:
        total = state.total
        for begin in range(0, len(update), BLOCK):
            total[begin : begin + BLOCK] += np.multiply(update[begin : begin + BLOCK], weight, dtype=np.float64)
        return Average(total, state.weight + weight)

    def finish(self, state: Average) -> Vector:
        return (state.total / state.weight).astype(np.float32)
