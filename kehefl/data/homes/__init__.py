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
#: Rows of one home: a row needs the day before it and the hour after it.
ROWS: Final = HOURS - HISTORY_H - 1
#: Every fifth day of the year is held out, so that all seasons are both trained on and tested; days, not rows, since
#: the rows of one day are too alike for a fair test. The same days are held out however many devices share the homes.
#: Held out is what is predicted: the load of such a day is still seen as "a day ago" by the rows of the day after.
TEST_EVERY_DAYS: Final = 5
#: Rows begin on day 2 and end on day 365; a device needs a day to train on and a day to be tested on.
DAYS: Final = 364
MOST_CLIENTS: Final = HOMES * (DAYS // 2)

#: Names and units of the features; "hour" and "weekend" are those of the hour to predict.
UNITS: Final = {
    "load_now": "kWh in the hour",
    "load_1h_ago": "kWh in the hour",
    "load_2h_ago": "kWh in the hour",
    "load_same_hour_yesterday": "kWh in the hour",  # a day before the hour to predict, 23 hours before now
    "load_day_mean": "kWh in the hour",  # of the last 24 hours, now included
    "hour_sin": "1",
    "hour_cos": "1",
    "weekend": "0 or 1",
    "temperature": "degC",  # outdoors, now
    "radiation": "W/m2",  # diffuse and direct solar, now
    "load_next_hour": "kWh in the hour",
}
TARGET: Final = "load_next_hour"
FEATURES: Final = tuple(name for name in UNITS if name != TARGET)

Columns = NDArray[np.float32]


def home_names(clients: int) -> tuple[str, ...]:
    """Names of `clients` devices: `home-01` to `home-17`, or with more than 17 `home-03-02`, part 2 of home 3."""
    _check_number(clients)
    if clients <= HOMES:
        return tuple(f"home-{home:02d}" for home in range(1, clients + 1))
    return tuple(f"home-{index % HOMES + 1:02d}-{index // HOMES + 1:02d}" for index in range(clients))


def open_home(client: int, clients: int = HOMES) -> Shard:
    """The rows of one client, counted from 1: about 6980 to train on and 1750 held out.

    With more than 17 clients the days of each home are shared out in contiguous blocks; a block so short that no fifth
    day falls into it holds out its last. UsageError when there is no such client, or too few days for so many.
    """
    _check_number(clients)
    if not 1 <= client <= max(clients, HOMES):
        raise UsageError(
            f"The data set homes has no client {client}. Choose 1 to {max(clients, HOMES)}"
            + (f", or share it among more: clients={client}." if clients < client <= MOST_CLIENTS else ".")
        )
    home, part = (client - 1) % HOMES, (client - 1) // HOMES
    name = f"home-{home + 1:02d}"
    with as_file(files(__package__) / "homes.npz") as path, np.load(path, allow_pickle=False) as raw:
        # One array a home: numpy reads those that are asked for, and a device has little memory.
        load = raw[f"load_{home + 1:02d}"]
        x, y, day = _rows(load, raw["hour"], raw["day_type"], raw["temperature"], raw["radiation"])
    if clients > HOMES:
        parts = (clients - 1 - home) // HOMES + 1
        kept = _part_of(day, part, parts)
        x, y, day = x[kept], y[kept], day[kept]
        name = f"{name}-{part + 1:02d}"
    held_out = day % TEST_EVERY_DAYS == TEST_EVERY_DAYS - 1
    if not held_out.any():
        held_out = day == day[-1]
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
    """Carbon intensity of the grid, float32 [8760], kg CO2 per kWh, hour by hour from the source's first."""
    with as_file(files(__package__) / "homes.npz") as path, np.load(path, allow_pickle=False) as raw:
        carbon: Columns = raw["carbon"]
        return carbon


def _check_number(clients: int) -> None:
    if not 1 <= clients <= MOST_CLIENTS:
        raise UsageError(f"The data set homes cannot be shared by {clients} devices. Ask for 1 to {MOST_CLIENTS}.")


def _rows(
    load: Columns, hour: Columns, day_type: Columns, temperature: Columns, radiation: Columns
) -> tuple[Columns, Columns, NDArray[np.int64]]:
    """Features [n, 10], target [n] and number of the day of each row, from columns of the source [8760]."""
    now = np.arange(HISTORY_H, HOURS - 1)
    following = now + 1
    sums = np.concatenate([[0.0], np.cumsum(load, dtype=np.float64)])
    angle = 2 * np.pi * hour[following].astype(np.float64) / 24
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
    """Rows of the `part`-th (from 0) of `parts` blocks of whole days."""
    first, last = int(day[0]), int(day[-1]) + 1
    start, end = (first + (last - first) * index // parts for index in (part, part + 1))
    inside: NDArray[np.bool_] = (day >= start) & (day < end)
    return inside
