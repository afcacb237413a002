"""Models that keep the interpreter busy for `KEHEFL_TEST_SLOW_S` seconds."""

from __future__ import annotations

import os
import time
from typing import Any

import kehefl
from kehefl.models.base import Array, Parameters
from kehefl.models.linear import Linear


class PurePython(Linear):
    """A loop in pure Python, which lets go of the interpreter only when it is made to."""

    name = "pure-python"

    def train(self, parameters: Parameters, x: Array, y: Array, **settings: Any) -> kehefl.Trained:
        until = time.monotonic() + float(os.environ["KEHEFL_TEST_SLOW_S"])
        number = 1
        while time.monotonic() < until:
            for _ in range(1000):
                number = number * 31 % 1_000_003
        return super().train(parameters, x, y, **settings)


class NeverReleasing(Linear):
    """Calls into C that hold the interpreter, each for about half the time: longer than any keepalive."""

    name = "never-releasing"

    def train(self, parameters: Parameters, x: Array, y: Array, **settings: Any) -> kehefl.Trained:
        began, busy_s = time.monotonic(), float(os.environ["KEHEFL_TEST_SLOW_S"])
        sum(range(20_000_000))
        per_second = 20_000_000 / (time.monotonic() - began)
        while time.monotonic() - began < busy_s:
            sum(range(int(per_second * busy_s / 2)))
        return super().train(parameters, x, y, **settings)
