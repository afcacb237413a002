"""The Model protocol: stateless, so that one object serves any number of devices, rounds and threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Parameters = dict[str, Array]
#: `report(done, total, loss)`: called now and then by `train`; raises TrainingCancelled when the round is over.
Report = Callable[[int, int, float], None]


class TrainingCancelled(Exception):  # noqa: N818 - an order, not an error
    """The order for this training was withdrawn; raised out of `report`, to be left alone by a model."""


class Trained(NamedTuple):
    """Result of local training: new parameters (float32) and the mean training loss of the last epoch."""

    parameters: Parameters
    loss: float


class Model(ABC):
    """What devices train. Derive from it, give it a `name`, hand it over as `--model my_module:MyModel` or an object.

    Rows come standardised: `x` float32 [n, features], `y` float32 [n]. Parameters are named float32 tensors whose names
    and shapes depend on nothing but `features`. All randomness comes from `rng`.
    """

    name: ClassVar[str]

    @abstractmethod
    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        """Parameters before any training."""

    @abstractmethod
    def train(
        self,
        parameters: Parameters,
        x: Array,
        y: Array,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
        report: Report,
    ) -> Trained:
        """`epochs` passes over the rows, from `parameters`, which must not be changed in place."""

    @abstractmethod
    def predict(self, parameters: Parameters, x: Array) -> Array:
        """Predictions [n], standardised like `y`."""
