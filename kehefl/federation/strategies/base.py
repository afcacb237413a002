"""The Strategy protocol: how the updates of a round become the next global model.

A strategy is a pure fold over flat float32 vectors [P]: `start`, one `fold` per update, `finish`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Strategy(ABC):
    """Subclass it for an aggregation rule of one's own. Instances hold settings only, never the state of a round."""

    name: ClassVar[str]
    #: True when the rule needs all updates of a round side by side (N x P numbers in memory at the end of a round).
    needs_all: ClassVar[bool] = False

    @abstractmethod
    def start(self, size: int) -> Any:
        """The state before the first of a round's updates, for models of `size` parameters."""

    @abstractmethod
    def fold(self, state: Any, update: Vector, weight: float) -> Any:
        """The state with one more update; may reuse `state`. `weight` is the number of training rows, above 0."""

    @abstractmethod
    def finish(self, state: Any) -> Vector:
        """The new global model, float32 [P]. Called after at least one fold."""
