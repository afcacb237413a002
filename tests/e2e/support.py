"""What the end-to-end tests share: real device processes, waiting for conditions, models for tests."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import kehefl
from kehefl.models.base import Array, Parameters, Report
from kehefl.models.linear import Linear
from kehefl.server.core import Server
from kehefl.server.events import AnyEvent, Stamped
from kehefl.transport.address import BrokerAddress

LIMIT_S = 20.0
HERE = Path(__file__).resolve().parents[2]


E = TypeVar("E")


class Ones(kehefl.Model):
    """Whatever it gets and however much it has: it answers 1.0."""

    name = "ones"

    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        return {"w": np.zeros((2, features), np.float32), "b": np.zeros(3, np.float32)}

    def train(self, parameters: Parameters, x: Array, y: Array, **_: Any) -> kehefl.Trained:
        return kehefl.Trained({name: np.ones_like(value) for name, value in parameters.items()}, 0.0)

    def predict(self, parameters: Parameters, x: Array) -> Array:
        return np.zeros(len(x), np.float32)


class Dawdling(Linear):
    """Linear, after a wait that nobody can foresee: updates arrive in another order each time."""

    name = "dawdling"

    def train(self, parameters: Parameters, x: Array, y: Array, **settings: Any) -> kehefl.Trained:
        time.sleep(secrets.randbelow(30) / 1000)
        return super().train(parameters, x, y, **settings)


class Slow(Linear):
    """Linear, after a second, unless it is cancelled."""

    name = "slow"

    def train(self, parameters: Parameters, x: Array, y: Array, *, report: Report, **settings: Any) -> kehefl.Trained:
        for step in range(100):
            time.sleep(float(os.environ.get("KEHEFL_TEST_SLOW_S", "1")) / 100)
            report(step, 100, 0.0)
        return super().train(parameters, x, y, report=report, **settings)


class Events:
    """Everything that a server core says, and waiting for it."""

    def __init__(self, server: Server) -> None:
        self.seen: list[AnyEvent] = []
        self._changed = asyncio.Event()
        server.subscribe(self._take)

    def _take(self, stamped: Stamped) -> None:
        self.seen.append(stamped.event)
        self._changed.set()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        return [event for event in self.seen if isinstance(event, kind)]

    async def until(self, condition: Callable[[AnyEvent], bool], limit_s: float = LIMIT_S) -> AnyEvent:
        """The first event that fulfils `condition`, also one that was seen before."""
        looked_at = 0
        async with asyncio.timeout(limit_s):
            while True:
                while looked_at < len(self.seen):
                    event = self.seen[looked_at]
                    looked_at += 1
                    if condition(event):
                        return event
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def device_process(
    name: str, address: BrokerAddress, federation: str, *options: str, slow_s: float = 1.0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A real `kehefl-device`; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kehefl.cli.device",
        name,
        "--broker",
        address.url,
        "--federation",
        federation,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=HERE,
        env={**os.environ, "KEHEFL_TEST_SLOW_S": str(slow_s), "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


def slow_home(client: int) -> tuple[str, ...]:
    """Options of a device with one of the homes and the slow model."""
    return ("--dataset", "homes", "--client", str(client), "--model", SLOW)


SLOW = "tests.e2e.support:Slow"
DAWDLING = "tests.e2e.support:Dawdling"
ONES = "tests.e2e.support:Ones"


class Large(kehefl.Model):
    """1.5 million parameters, each its own number, to which every round adds one."""

    name = "large"

    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        return {"w": np.arange(1_500_000, dtype=np.float32)}

    def train(self, parameters: Parameters, x: Array, y: Array, **_: Any) -> kehefl.Trained:
        return kehefl.Trained({"w": parameters["w"] + 1}, 0.0)

    def predict(self, parameters: Parameters, x: Array) -> Array:
        return np.zeros(len(x), np.float32)


LARGE = "tests.e2e.support:Large"
