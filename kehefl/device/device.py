"""`kehefl.Device`: a device as a library, from options as they are typed to a running agent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kehefl.data.open import DataSpec, open_shard
from kehefl.data.sensors import Sensor, load_sensor
from kehefl.data.shard import Shard
from kehefl.device.agent import TELEMETRY_EVERY_S, Agent
from kehefl.device.told import Tell, silent
from kehefl.device.trainer import make_trainer
from kehefl.errors import UsageError
from kehefl.models.base import Model
from kehefl.models.load import builtin_names, load_models
from kehefl.protocol.topics import DEFAULT_FEDERATION, DEFAULT_PREFIX, Topics, check_id
from kehefl.transport.address import BrokerAddress

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"


class Device:
    """A device of a federation.

    `data` is a folder of CSV files, a Shard, or a DataSpec; or name a `dataset` and the `client` of it, or a `sensor`.
    A sensor that simulates brings its own history; a real one is recorded into the folder `data`, a row every
    `interval_s` seconds. `models` are the models this device may train beside the built-in ones: Model objects or
    `module:Class`. Raises UsageError for what cannot be meant, DataError for rows that are not there.
    """

    def __init__(
        self,
        device: str,
        *,
        broker: str | BrokerAddress | None = None,
        data: str | Path | Shard | DataSpec | None = None,
        features: Sequence[str] = (),
        target: str | None = None,
        dataset: str | None = None,
        client: int | None = None,
        clients: int | None = None,
        rows: int | None = None,
        sensor: str | Sensor | None = None,
        interval_s: float = 5.0,
        models: Sequence[str | Model] = (),
        federation: str = DEFAULT_FEDERATION,
        prefix: str = DEFAULT_PREFIX,
        trainer: str = "thread",
        pool: concurrent.futures.Executor | None = None,
        tell: Tell = silent,
        telemetry_every_s: float = TELEMETRY_EVERY_S,
    ) -> None:
        self.device = check_id(device)
        self._sensor = load_sensor(sensor) if isinstance(sensor, str) else sensor
        self._interval_s = interval_s
        self._directory = Path(data) if isinstance(data, str | Path) else None
        self._tell = tell
        if isinstance(data, Shard):
            rows_of: Callable[[], Shard] = lambda: data  # noqa: E731 - a def in a branch reads worse
        elif isinstance(data, DataSpec):
            rows_of = partial(open_shard, data)
        else:
            rows_of = partial(open_shard, self._spec(sensor, dataset, client, clients, tuple(features), target, rows))
        known = load_models([*builtin_names(), *models])
        if trainer == "process" and any(isinstance(model, Model) for model in models):
            raise UsageError("A model object cannot be sent to another process. Name it: module:Class.")
        self.agent = Agent(
            device,
            address=_address(broker),
            topics=Topics(federation, prefix),
            rows=rows_of,
            columns=(tuple(features), target or ""),
            models=known,
            trainer=make_trainer(trainer, known, pool),
            tell=tell,
            telemetry_every_s=telemetry_every_s,
        )

    async def run(self, gate: asyncio.Semaphore | None = None) -> None:
        """Serve until cancelled. Raises BrokerError when the broker refuses this device for good.

        `gate` bounds how many devices of one process connect at the same time.
        """
        if self._sensor is None or self._directory is None:
            await self.agent.run(gate)
            return
        from kehefl.device.recording import record

        recording = asyncio.create_task(
            record(self._sensor, self._directory, self._interval_s, self.device, self._tell)
        )
        try:
            await self.agent.run(gate)
        finally:
            recording.cancel()
            await asyncio.wait([recording])

    def _spec(
        self,
        sensor: str | Sensor | None,
        dataset: str | None,
        client: int | None,
        clients: int | None,
        features: tuple[str, ...],
        target: str | None,
        rows: int | None,
    ) -> DataSpec:
        directory = str(self._directory) if self._directory else None
        if directory is None and dataset is None and sensor is None:
            raise UsageError(
                "The device has no data. Give it --data DIR --features a,b --target t, or --dataset homes --client 1, "
                "or --sensor room."
            )
        if directory is not None and dataset is not None:
            raise UsageError("Both --data and --dataset were given. Leave one of them out.")
        if directory is None and isinstance(sensor, str):
            return DataSpec(sensor=sensor, features=features, target=target, rows=rows, seed=_seed_of(self.device))
        if directory is None and dataset is None:
            raise UsageError("A sensor's rows are recorded into a folder. Name it with data= (--data DIR).")
        return DataSpec(
            dataset=dataset,
            client=client,
            clients=clients,
            directory=directory,
            features=features,
            target=target,
            rows=rows,
        )


def _address(broker: str | BrokerAddress | None) -> BrokerAddress:
    if isinstance(broker, BrokerAddress):
        return broker
    return BrokerAddress.parse(broker or os.environ.get("KEHEFL_BROKER") or DEFAULT_BROKER)


def _seed_of(device: str) -> int:
    # Two simulated rooms differ, the same one is the same again: the seed is the name.
    return int.from_bytes(device.encode(), "little") % (2**31)
