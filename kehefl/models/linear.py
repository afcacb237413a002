"""Linear regression by mini-batch gradient descent on the mean squared error.

For a batch of b rows: `e = X w + c - y`, `w -= rate * X' e / b`, `c -= rate * mean(e)`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kehefl.models.base import Array, Model, Parameters, Report, Trained

#: Batches between two progress reports: often enough for a screen and for cancelling, too rare to cost anything.
REPORT_EVERY_BATCHES = 64


class Linear(Model):
    """`y = X w + c`; parameters `weight` [features] and `bias` [1], zero at the start. Loss: half the squared error."""

    name: ClassVar[str] = "linear"

    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        del rng  # The problem is convex: zero is as good a start as any, and the same everywhere.
        return {"weight": np.zeros(features, np.float32), "bias": np.zeros(1, np.float32)}

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
        weight = parameters["weight"].astype(np.float32, copy=True)
        bias = np.float32(parameters["bias"][0])
        rows = len(y)
        batches = -(-rows // batch_size)
        total = epochs * batches
        done = 0
        loss = 0.0
        # Whoever ordered the training looks whether its result is finite; warnings would only cross the screen.
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(epochs):
                order = rng.permutation(rows)
                # One gather an epoch instead of one a batch.
                shuffled_x, shuffled_y = x[order], y[order]
                squared = 0.0
                for start in range(0, rows, batch_size):
                    batch_x = shuffled_x[start : start + batch_size]
                    error = batch_x @ weight + bias - shuffled_y[start : start + batch_size]
                    squared += float(error @ error)
                    step = np.float32(learning_rate / len(error))
                    weight -= step * (error @ batch_x)
                    bias -= step * error.sum()
                    done += 1
                    if done % REPORT_EVERY_BATCHES == 0:
                        report(done, total, squared / (2 * min(start + batch_size, rows)))
                loss = squared / (2 * rows)
        report(total, total, loss)
        return Trained({"weight": weight, "bias": np.array([bias], np.float32)}, loss)

    def predict(self, parameters: Parameters, x: Array) -> Array:
        return np.asarray(x @ parameters["weight"] + parameters["bias"][0], dtype=np.float32)
