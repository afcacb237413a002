"""kehefl as a library, and things of one's own: a model, a strategy, a sensor, a topic prefix; nothing in the package is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import kehefl
from kehefl.models.base import Array, Parameters
from kehefl.server.events import DeviceChanged
from kehefl.transport.address import BrokerAddress
from tests.e2e.support import LIMIT_S, Events, device_process


class Mean(kehefl.Model):
    """Predicts the mean of the target, whatever the features say."""

    name = "mean"

    def initialise(self, features: int, rng: np.random.Generator) -> Parameters:
        return {"mean": np.zeros(1, np.float32)}

    def train(self, parameters: Parameters, x: Array, y: Array, **_: Any) -> kehefl.Trained:
        return kehefl.Trained({"mean": y.mean(keepdims=True)}, float(y.var()))

    def predict(self, parameters: Parameters, x: Array) -> Array:
        return np.full(len(x), parameters["mean"][0], np.float32)


class Largest(kehefl.Strategy):
    """The largest value of each parameter."""

    name = "largest"

    def start(self, size: int) -> Array:
        return np.full(size, -np.inf, np.float32)

    def fold(self, state: Array, update: Array, weight: float) -> Array:
        return np.maximum(state, update)

    def finish(self, state: Array) -> Array:
        return state


class Thermometer:
    """A sensor of one's own."""

    name = "thermometer"
    columns = ("minute", "temperature")

    def __init__(self) -> None:
        self._minute = 0

    def read(self) -> Mapping[str, float]:
        self._minute += 1
        return {"minute": float(self._minute), "temperature": 20.0 + self._minute / 100}


async def test_server_and_device_in_a_dozen_lines(mosquitto: BrokerAddress, federation: str, tmp_path: Path) -> None:
    async with kehefl.Server(broker=mosquitto.url, federation=federation, state=tmp_path) as server:
        device = kehefl.Device("pi-03", broker=mosquitto.url, federation=federation, dataset="homes", client=3)
        running = asyncio.create_task(device.run())
        result = await server.execute("run start federated rounds=20")
        running.cancel()
        await asyncio.wait([running])
    assert isinstance(result, kehefl.Result)
    assert (result.status, result.rounds_completed, result.devices) == ("done", 20, 1)
    assert result.metrics["test_rmse"] < 0.6


async def test_a_model_and_a_strategy_of_ones_own(mosquitto: BrokerAddress, federation: str, tmp_path: Path) -> None:
    async with kehefl.Server(
        broker=mosquitto.url,
        federation=federation,
        prefix="lab/one",
        state=tmp_path,
        models=[Mean()],
        strategies=[Largest()],
    ) as server:
        devices = [
            kehefl.Device(
                f"pi-{n}", broker=mosquitto.url, federation=federation, prefix="lab/one", dataset="homes", client=n,
                models=[Mean()],
            )
            for n in (1, 2)
        ]  # fmt: skip
        running = [asyncio.create_task(device.run()) for device in devices]
        result = await server.execute("run start federated rounds=2 devices=2 model=mean strategy=largest")
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    assert isinstance(result, kehefl.Result)
    assert result.status == "done", result
    homes = [kehefl.open_shard(kehefl.DataSpec(dataset="homes", client=n)) for n in (1, 2)]
    highest = max(float(home.y_train.mean()) for home in homes)
    worst = max(float(np.abs(home.y_test - highest).mean()) for home in homes)
    best = min(float(np.abs(home.y_test - highest).mean()) for home in homes)
    assert best - 1e-5 <= result.metrics["test_mae"] <= worst + 1e-5


async def test_a_sensor_of_ones_own_is_recorded_and_then_trained_on(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    options = (
        "--sensor", "tests.e2e.test_library:Thermometer", "--interval", "0.02", "--data", str(tmp_path / "recordings"),
        "--features", "minute", "--target", "temperature",
    )  # fmt: skip
    async with (
        kehefl.Server(broker=mosquitto, federation=federation, state=tmp_path) as server,
        device_process("pi-1", mosquitto, federation, *options),
    ):
        events = Events(server)
        await events.until(lambda e: isinstance(e, DeviceChanged) and e.state == "ready")
        async with asyncio.timeout(LIMIT_S):
            while sum(path.read_bytes().count(b"\n") for path in (tmp_path / "recordings").glob("*.csv")) < 30:
                await asyncio.sleep(0.05)
        result = await server.execute("run start federated rounds=3 batch_size=4 lr=0.05")
    assert isinstance(result, kehefl.Result)
    assert result.status == "done", result
    births = [event.rows_train for event in events.of(DeviceChanged)]
    assert births[0] < 20 <= max(births), "what was recorded meanwhile is told before it is trained on"


async def test_a_simulated_room_is_labelled_simulated(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with (
        kehefl.Server(broker=mosquitto, federation=federation, state=tmp_path) as server,
        device_process("pi-1", mosquitto, federation, "--sensor", "room"),
    ):
        result = await server.execute("run start federated rounds=2")
        assert isinstance(result, kehefl.Result)
        assert "simulated" in await server.submit("device show pi-1")
    assert result.status == "done"
