"""A model that learns nothing in no time, so that a round costs what the framework costs."""

from __future__ import annotations

import os
from typing import ClassVar, Final

import numpy as np

from kehefl.models.base import Array, Model, Parameters, Report, Trained

#: How many parameters it has: the same in the server and in its devices' process.
SIZE_VARIABLE: Final = "KEHEFL_BENCH_PARAMETERS"
SPEC: Final = "kehefl.bench.trivial:Trivial"


class Trivial(Model):
    """`KEHEFL_BENCH_PARAMETERS` zeros, sent back as they come."""

    name: ClassVar[str] = "trivial"

    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        del features, rng
        return {"w": np.zeros(int(os.environ.get(SIZE_VARIABLE, "2")), np.float32)}

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
        del x, y, epochs, batch_size, learning_rate, rng, report
        return Trained(parameters, 0.0)

    def predict(self, parameters: Parameters, x: Array) -> Array:
        del parameters
        return np.zeros(len(x), np.float32)
