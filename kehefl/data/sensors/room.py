"""`room`: a simulated room with people in it, for trying things out without a sensor. Labelled simulated everywhere.

CO2 by mass balance and temperature by heat balance of a well-mixed room, humidity from a constant moisture content:

    V dC/dt   = n G + Q (C_out - C)                       C ppm, V m3, G CO2 of a person, Q m3/h ventilation
    K dT/dt   = n P + H (T_set - T) + (U + 0.33 Q) (T_out - T)     K Wh/K, P W, H, U W/K
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kehefl.data.shard import Shard
from kehefl.errors import UsageError, nearest

COLUMNS: Final = ("co2", "temperature", "humidity")
STEP_S: Final = 60
HISTORY_DAYS: Final = 7
TEST_SHARE: Final = 0.2
#: CO2 that a sitting person breathes out: 0.018 m3 an hour.
PERSON_CO2_M3H: Final = 0.018
PERSON_HEAT_W: Final = 80.0
OUTDOOR_CO2_PPM: Final = 420.0


class Room:
    """A room that is lived in from now on; a reading a step of one simulated minute."""

    name = "room"
    columns = COLUMNS
    simulated = True

    def __init__(self, seed: int = 0) -> None:
        self._rows = simulate(seed, HISTORY_DAYS * 86_400 // STEP_S)
        self._next = 0

    def read(self) -> Mapping[str, float]:
        """The next minute of the room: ppm, degC, percent."""
        row = self._rows[self._next % len(self._rows)]
        self._next += 1
        return dict(zip(COLUMNS, (float(value) for value in row), strict=True))


def simulate(seed: int, steps: int) -> NDArray[np.float32]:
    """`steps` minutes of a room, float32 [steps, 3] in the order of COLUMNS. Rooms differ by `seed`."""
    rng = np.random.default_rng(seed)
    volume = rng.uniform(30, 90)
    ventilation = volume * rng.uniform(0.3, 1.2)
    capacity = volume * rng.uniform(8, 14)
    loss, heating, comfort = rng.uniform(15, 40), rng.uniform(60, 120), rng.uniform(19.5, 22.5)
    most_people = int(rng.integers(1, 4))
    hours = np.arange(steps) * STEP_S / 3600
    hour_of_day = hours % 24
    outdoor = (
        rng.uniform(2, 12)
        + 5 * np.sin(2 * np.pi * (hour_of_day - 9) / 24)
        + np.repeat(rng.normal(0, 2, int(hours[-1] // 24) + 1), 24 * 3600 // STEP_S)[:steps]
    )
    home = (hour_of_day < 8) | (hour_of_day > 17)
    presence = np.repeat(rng.integers(0, most_people + 1, steps // 30 + 1), 30)[:steps]
    people = np.where(home, np.maximum(presence, 1), (presence == most_people) * 1)
    co2, warmth = OUTDOOR_CO2_PPM + 100.0, comfort
    moisture = rng.uniform(6.0, 9.0)
    rows = np.empty((steps, 3))
    step_h = STEP_S / 3600
    for index in range(steps):
        number = float(people[index])
        co2 += step_h * (number * PERSON_CO2_M3H * 1e6 + ventilation * (OUTDOOR_CO2_PPM - co2)) / volume
        gain = number * PERSON_HEAT_W + heating * max(0.0, comfort - warmth) * 2
        warmth += step_h * (gain + (loss + 0.33 * ventilation) * (float(outdoor[index]) - warmth)) / capacity
        # Saturation by the Magnus formula; moisture in g/m3, a little of it from people.
        saturation = 216.7 * 6.112 * np.exp(17.62 * warmth / (243.12 + warmth)) / (273.15 + warmth)
        rows[index] = co2, warmth, min(95.0, 100 * (moisture + 0.4 * number) / saturation)
    rows += rng.normal(0, (8.0, 0.05, 0.4), rows.shape)
    return rows.astype(np.float32)


def room_shard(features: tuple[str, ...], target: str | None, seed: int) -> Shard:
    """A week of a room as rows; the last fifth in time is held out. Default: co2 and humidity to temperature."""
    target = target or "temperature"
    features = features or tuple(column for column in ("co2", "humidity") if column != target)
    for column in (*features, target):
        if column not in COLUMNS:
            raise UsageError(f"Sensor 'room' has no column '{column}'. {nearest(column, COLUMNS)}")
    rows = simulate(seed, HISTORY_DAYS * 86_400 // STEP_S)
    split = int(len(rows) * (1 - TEST_SHARE))
    x = np.ascontiguousarray(rows[:, [COLUMNS.index(column) for column in features]])
    y = np.ascontiguousarray(rows[:, COLUMNS.index(target)])
    return Shard(
        name="room",
        source="room",
        simulated=True,
        features=features,
        target=target,
        x_train=x[:split],
        y_train=y[:split],
        x_test=x[split:],
        y_test=y[split:],
    )
