"""Sensors: a small class with a name, its columns and `read()`. One's own comes by `module:Class` or entry point.

class Attic:
    name = "attic"
    columns = ("temperature", "humidity")

    def read(self):
        return {"temperature": 21.5, "humidity": 40.0}
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast, runtime_checkable

import numpy as np

from kehefl.data.shard import Shard, shard_in_time
from kehefl.errors import DataError, KeheflError, UsageError, nearest
from kehefl.plugins import find_class, offered

ENTRY_POINTS: Final = "kehefl.sensors"
BUILT_IN: Final = {"room": "kehefl.data.sensors.room:Room", "scd30": "kehefl.data.sensors.scd30:Scd30"}
#: A row of a simulated history a minute.
HISTORY_INTERVAL_S: Final = 60.0
HISTORY_S: Final = 7 * 86_400.0
MOST_HISTORY_S: Final = 366 * 86_400.0
#: What a simulated sensor learns from and to, unless it is said.
DEFAULT_FEATURES: Final = ("co2", "humidity")
DEFAULT_TARGET: Final = "temperature"


@runtime_checkable
class Sensor(Protocol):
    """What a device measures. `read` is called from a thread, or awaited when it is a coroutine function; it returns a
    value for each of `columns`, and raises OSError when the sensor does not answer.

    A sensor that makes its readings up says so with `simulated = True`. It may bring its past:
    `history(rows, interval_s)` gives rows, oldest first, each in the order of `columns`. A class that takes a `seed`
    gets one.
    """

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    def read(self) -> Mapping[str, float] | Awaitable[Mapping[str, float]]: ...


class SimulatedSensor(Sensor, Protocol):
    """A sensor with a past that it makes up."""

    def history(self, rows: int, interval_s: float) -> Iterable[Sequence[float]]: ...


def sensor_names() -> tuple[str, ...]:
    """Names that `--sensor` accepts beside `module:Class`."""
    return tuple(dict.fromkeys((*BUILT_IN, *offered(ENTRY_POINTS))))


def load_sensor(spec: str, seed: int = 0) -> Sensor:
    """The sensor of that name; `seed` goes to one that simulates. UsageError says which there are, or what is wrong
    with the user's own."""
    place = spec if ":" in spec else BUILT_IN.get(spec) or offered(ENTRY_POINTS).get(spec)
    if place is None:
        hint = nearest(spec, sensor_names())
        raise UsageError(f"There is no sensor '{spec[:60]}'. {hint} One of your own is given as my_module:MySensor.")
    made = _make(spec, find_class(place, "sensor"), seed)
    if fault := _fault_of(made):
        raise UsageError(f"'{spec}' is not a sensor: {fault}. It needs a class with `name`, `columns` and `read()`.")
    return cast(Sensor, made)


def simulates(sensor: Sensor) -> bool:
    """Whether the sensor makes its readings up."""
    return bool(getattr(sensor, "simulated", False))


def simulated_shard(
    name: str, features: tuple[str, ...] = (), target: str | None = None, seed: int = 0, history_s: float = HISTORY_S
) -> Shard:
    """The past `history_s` seconds of a simulated sensor as rows, one a minute; the last fifth in time is held out.

    UsageError for a sensor without a past, or a column it lacks; DataError for a past that cannot be used.
    """
    sensor = load_sensor(name, seed)
    if not simulates(sensor) or not callable(getattr(sensor, "history", None)):
        raise UsageError(f"Sensor '{name}' has no history. Record it into a folder: --data DIR.")
    if not 2 * HISTORY_INTERVAL_S <= history_s <= MOST_HISTORY_S:
        raise UsageError(f"A history of {history_s:g} s cannot be made. Ask for two minutes to a year.")
    target = target or DEFAULT_TARGET
    features = features or tuple(column for column in DEFAULT_FEATURES if column != target)
    for column in (*features, target):
        if column not in sensor.columns:
            raise UsageError(f"Sensor '{name}' has no column '{column[:60]}'. {nearest(column, sensor.columns)}")
    if target in features or len(set(features)) < len(features):
        raise UsageError("A column was named twice in features and target. Name each once.")
    wanted = int(history_s / HISTORY_INTERVAL_S)
    past = cast(SimulatedSensor, sensor).history(wanted, HISTORY_INTERVAL_S)
    try:
        rows = np.asarray(past if isinstance(past, np.ndarray) else list(past), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"The history of sensor '{name}' is not rows of numbers ({error}). Mend its class.") from error
    if rows.ndim != 2 or rows.shape[1] != len(sensor.columns) or len(rows) < 2 or not np.isfinite(rows).all():
        raise DataError(
            f"The history of sensor '{name}' is not rows of {len(sensor.columns)} finite numbers, two at least. "
            "Mend its class."
        )
    return shard_in_time(
        rows[:, [sensor.columns.index(column) for column in (*features, target)]],
        name=sensor.name,
        source=sensor.name,
        simulated=True,
        features=features,
        target=target,
    )


def _make(spec: str, kind: type, seed: int) -> Any:
    try:
        try:
            seeded = "seed" in inspect.signature(kind).parameters
        except ValueError:
            seeded = False
        return kind(seed=seed) if seeded else kind()
    except KeheflError:
        raise
    except Exception as error:
        raise UsageError(
            f"Sensor '{spec}' cannot be started ({type(error).__name__}: {error}). Check that it is connected, and "
            "that its class needs no arguments."
        ) from error


def _fault_of(sensor: Any) -> str:
    """What keeps an object from being a sensor, or nothing."""
    name, columns = getattr(sensor, "name", None), getattr(sensor, "columns", None)
    if not isinstance(name, str) or not name:
        return "its `name` is no text"
    if not isinstance(columns, tuple) or not columns or not all(isinstance(column, str) for column in columns):
        return "its `columns` is no tuple of names"
    if len({"timestamp", *columns}) <= len(columns) or any(not column.strip() for column in columns):
        return "its `columns` are not different from each other and from 'timestamp'"
    if not callable(getattr(sensor, "read", None)):
        return "it has no `read()`"
    return ""
