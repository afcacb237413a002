"""`homes`: seventeen real homes of one neighbourhood, a year of hours each; next-hour electric load. See SOURCE.md."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kehefl.data.shard import Shard
from kehefl.errors import UsageError

HOMES: Final = 17
HOURS: Final = 8760
#: What must have been seen before the first row: a day of load.
HISTORY_H: Final = 24
#: Every fifth day is held out, so that all seasons are both trained on and tested; days, not rows, since the rows of
#: one day are too alike for a fair test.
TEST_EVERY_DAYS: Final = 5

FEATURES: Final = (
    "load_now",
    "load_1h_ago",
    "load_2h_ago",
    "load_same_hour_yesterday",
    "load_day_mean",
    "hour_sin",
    "hour_cos",
    "weekend",
    "temperature",
    "radiation",
)
TARGET: Final = "load_next_hour"
UNITS: Final = {"load": "kWh per hour", "temperature": "degC", "radiation": "W/m2"}

Columns = NDArray[np.float32]


def home_names(clients: int) -> tuple[str, ...]:
    """Names of `clients` devices: a home each up to 17, then contiguous parts of homes."""
    if clients < 1:
        raise UsageError("Ask for at least 1 client of the data set homes.")
    if clients <= HOMES:
        return tuple(f"home-{home:02d}" for home in range(1, clients + 1))
    names = []
    for index in range(clients):
        names.append(f"home-{index % HOMES + 1:02d}-{index // HOMES + 1:02d}")
    return tuple(names)


def open_home(client: int, clients: int = HOMES) -> Shard:
    """The rows of one client, counted from 1. With more than 17 clients each home's days are shared out in blocks.

    UsageError when there are fewer clients, or too few days for so many.
    """
    if not 1 <= client <= max(clients, HOMES):
        raise UsageError(f"The data set homes has no client {client}: choose 1 to {max(clients, HOMES)}.")
    home, part = (client - 1) % HOMES, (client - 1) // HOMES
    with as_file(files(__package__) / "homes.npz") as path, np.load(path, allow_pickle=False) as raw:
        load = raw["load"][home].astype(np.float32)
        x, y, day = _rows(load, raw["hour"], raw["day_type"], raw["temperature"], raw["radiation"])
    name = f"home-{home + 1:02d}"
    if clients > HOMES:
        parts = (clients - 1 - home) // HOMES + 1
        kept = _part_of(day, part, parts)
        x, y, day = x[kept], y[kept], day[kept]
        name = f"{name}-{part + 1:02d}"
        if len(set(day.tolist())) < TEST_EVERY_DAYS:
            raise UsageError(f"{clients} clients leave less than {TEST_EVERY_DAYS} days each. Ask for at most 1200.")
        day = day - day[0]
    held_out = day % TEST_EVERY_DAYS == TEST_EVERY_DAYS - 1
    return Shard(
        name=name,
        source="homes",
        simulated=False,
        features=FEATURES,
        target=TARGET,
        x_train=np.ascontiguousarray(x[~held_out]),
        y_train=np.ascontiguousarray(y[~held_out]),
        x_test=np.ascontiguousarray(x[held_out]),
        y_test=np.ascontiguousarray(y[held_out]),
    )


def carbon_intensity() -> Columns:
    """Carbon intensity of the grid, float32 [8760], kg CO2 per kWh, hour by hour with the rows of the homes."""
    with as_file(files(__package__) / "homes.npz") as path, np.load(path, allow_pickle=False) as raw:
        carbon: Columns = raw["carbon"].astype(np.float32)
        return carbon


def _rows(
    load: Columns, hour: Columns, day_type: Columns, temperature: Columns, radiation: Columns
) -> tuple[Columns, Columns, NDArray[np.int64]]:
    """Features [n, 10], target [n] and number of the day of each row."""
    now = np.arange(HISTORY_H, HOURS - 1)
    following = now + 1
    sums = np.concatenate([[0.0], np.cumsum(load, dtype=np.float64)])
    angle = 2 * np.pi * hour[following] / 24
    x = np.column_stack(
        [
            load[now],
            load[now - 1],
            load[now - 2],
            load[following - 24],
            (sums[now + 1] - sums[now - 23]) / 24,
            np.sin(angle),
            np.cos(angle),
            day_type[following] >= 6,
            temperature[now],
            radiation[now],
        ]
    ).astype(np.float32)
    # The first row of the year is hour 24 of the day before.
    return x, load[following], (following + 23) // 24


def _part_of(day: NDArray[np.int64], part: int, parts: int) -> NDArray[np.bool_]:
    """Rows of the `part`-th of `parts` blocks of whole days."""
    first, last = int(day[0]), int(day[-1]) + 1
    edges = [first + (last - first) * index // parts for index in (part, part + 1)]
    inside: NDArray[np.bool_] = (day >= edges[0]) & (day < edges[1])
    return inside
