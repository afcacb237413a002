"""Sensors: a small class with a name, its columns and `read()`. One's own comes by `module:Class` or entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from kehefl.data.shard import Shard
from kehefl.errors import UsageError, nearest

ENTRY_POINTS: Final = "kehefl.sensors"


@runtime_checkable
class Sensor(Protocol):
    """What a device measures. `read` is called from a thread, or awaited when it is a coroutine function; it returns a
    value for each of `columns`, and raises OSError when the sensor does not answer."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    def read(self) -> Mapping[str, float] | Awaitable[Mapping[str, float]]: ...


def sensor_names() -> tuple[str, ...]:
    """Names that `--sensor` accepts beside `module:Class`."""
    return ("room", *(entry.name for entry in entry_points(group=ENTRY_POINTS)))


def load_sensor(spec: str) -> Sensor:
    """The sensor of that name. UsageError says which there are, or what is wrong with the user's own."""
    if spec == "room":
        from kehefl.data.sensors.room import Room

        return Room()
    if ":" not in spec:
        offered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
        if spec not in offered:
            hint = nearest(spec, sensor_names())
            raise UsageError(
                f"There is no sensor '{spec[:60]}'. {hint} One of your own is given as my_module:MySensor."
            )
        spec = offered[spec]
    module_name, _, class_name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not have the working directory on its path; the operator's module usually lies there.
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError as error:
        raise UsageError(
            f"The module of sensor '{spec}' cannot be imported ({error}). Start the device where {module_name}.py lies, "
            "or install it."
        ) from error
    sensor = found() if isinstance(found, type) else None
    if not isinstance(sensor, Sensor):
        raise UsageError(f"'{spec}' is not a sensor. It needs a class with `name`, `columns` and `read()`.")
    return sensor


def simulates(sensor: Sensor) -> bool:
    """Whether the sensor makes its readings up, with a history of its own."""
    from kehefl.data.sensors.room import Room

    return isinstance(sensor, Room)


def simulated_shard(name: str, features: tuple[str, ...], target: str | None, seed: int) -> Shard:
    """The history of a simulated sensor as rows. UsageError for one that does not simulate, or a column it lacks."""
    if not simulates(load_sensor(name)):
        raise UsageError(f"Sensor '{name}' has no history. Record it into a folder: --data DIR.")
    from kehefl.data.sensors.room import room_shard

    return room_shard(features, target, seed)
