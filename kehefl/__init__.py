"""kehefl: federated learning with IoT devices over MQTT, run from a terminal operator console.

As a library:

    async with kehefl.Server(broker="mqtt://127.0.0.1:1883") as server:
        print(await server.execute("run start federated rounds=20"))

    await kehefl.Device("pi-03", broker="mqtt://127.0.0.1:1883", data="./recordings",
                        features=("co2", "humidity"), target="temperature").run()

Names are loaded when they are used, so that a device does not carry the server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kehefl.data.open import DataSpec as DataSpec
    from kehefl.data.open import open_shard as open_shard
    from kehefl.data.sensors import Sensor as Sensor
    from kehefl.data.shard import Shard as Shard
    from kehefl.device.device import Device as Device
    from kehefl.errors import BrokerError as BrokerError
    from kehefl.errors import DataError as DataError
    from kehefl.errors import KeheflError as KeheflError
    from kehefl.errors import RefusedError as RefusedError
    from kehefl.errors import UsageError as UsageError
    from kehefl.federation.settings import RunSettings as RunSettings
    from kehefl.federation.strategies.base import Strategy as Strategy
    from kehefl.models.base import Model as Model
    from kehefl.models.base import Trained as Trained
    from kehefl.server.core import Server as Server
    from kehefl.server.result import Result as Result

__version__: Final = "0.1.0"

_HOME: Final = {
    "BrokerError": "kehefl.errors",
    "DataError": "kehefl.errors",
    "DataSpec": "kehefl.data.open",
    "Device": "kehefl.device.device",
    "KeheflError": "kehefl.errors",
    "Model": "kehefl.models.base",
    "RefusedError": "kehefl.errors",
    "Result": "kehefl.server.result",
    "RunSettings": "kehefl.federation.settings",
    "Sensor": "kehefl.data.sensors",
    "Server": "kehefl.server.core",
    "Shard": "kehefl.data.shard",
    "Strategy": "kehefl.federation.strategies.base",
    "Trained": "kehefl.models.base",
    "UsageError": "kehefl.errors",
    "open_shard": "kehefl.data.open",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'kehefl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
