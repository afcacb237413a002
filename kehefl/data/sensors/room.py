"""`room`: a simulated room with people in it, for trying things out without a sensor. Labelled simulated everywhere.

A well-mixed room: CO2 by mass balance, temperature by heat balance, humidity from the water in its air.

    V dC/dt = 1e6 n G + Q (C_out - C)                    C ppm, V m3, G m3/h CO2 of a person, Q m3/h ventilation
    K dT/dt = n P + R (T_set - T)+ + (U + c Q) (T_out - T)    K Wh/K, P W of a person, R W/K radiator, U W/K walls,
                                                         c = 0.33 Wh/(m3 K) heat capacity of air; (x)+ is max(x, 0)
    RH = 100 (w + n m) / s(T)                            w, m g/m3, s(T) g/m3 saturation by the Magnus formula

Integrated by explicit Euler steps of a minute, far below the room's time constants of an hour and more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = ("co2", "temperature", "humidity")
STEP_S: Final = 60
STEP_H: Final = STEP_S / 3600
STEPS_A_DAY: Final = 86_400 // STEP_S
#: What is simulated at a time when the room is read on and on.
CHUNK_STEPS: Final = 7 * STEPS_A_DAY
#: CO2 that a sitting person breathes out, and the heat that one gives off.
PERSON_CO2_M3H: Final = 0.018
PERSON_HEAT_W: Final = 80.0
#: Moisture that one person adds to the air, g/m3.
PERSON_MOISTURE_GM3: Final = 0.4
#: Fresh air for each of the people that the room is meant for, at least: keeps C below 420 + 1e6 G / 13 = 1805 ppm.
PERSON_AIR_M3H: Final = 13.0
OUTDOOR_CO2_PPM: Final = 420.0
AIR_HEAT_WHM3K: Final = 0.33
#: Standard deviation of a reading: ppm, degC, percent.
NOISE: Final = (8.0, 0.05, 0.4)
#: The range of the sensor that the room stands in for (SCD30).
LOWEST: Final = (400.0, -40.0, 0.0)
HIGHEST: Final = (10_000.0, 70.0, 100.0)


class Room:
    """A simulated room; rooms differ by `seed`. Each reading is one minute of the room after the one before."""

    name = "room"
    columns = COLUMNS
    simulated = True

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._readings: Iterator[Mapping[str, float]] | None = None

    def read(self) -> Mapping[str, float]:
        """The next minute of the room: co2 in ppm, temperature in degC, humidity in percent."""
        if self._readings is None:
            self._readings = _endless(self._seed)
        return next(self._readings)

    def history(self, rows: int, interval_s: float = STEP_S) -> NDArray[np.float32]:
        """The first `rows` readings of the room, float32 [rows, 3] in the order of `columns`, one in `interval_s`
        seconds (rounded to whole minutes, one at least)."""
        stride = max(1, round(interval_s / STEP_S))
        return np.ascontiguousarray(simulate(self._seed, rows * stride)[::stride])


def simulate(seed: int, steps: int) -> NDArray[np.float32]:
    """`steps` minutes of a room from midnight on, float32 [steps, 3] in the order of COLUMNS."""
    rng = np.random.default_rng(seed)
    meant_for = int(rng.integers(1, 4))
    volume = rng.uniform(30, 90)
    ventilation = max(volume * rng.uniform(0.3, 1.2), PERSON_AIR_M3H * meant_for)
    capacity = volume * rng.uniform(8, 14)
    loss, radiator, comfort = rng.uniform(15, 40), rng.uniform(150, 300), rng.uniform(19.5, 22.5)
    moisture = rng.uniform(6.0, 8.0)

    hours: NDArray[np.float64] = np.arange(steps, dtype=np.float64) * STEP_H
    days = steps // STEPS_A_DAY + 1
    # Warmest at 15 h; some days are warmer than others.
    outdoor = rng.uniform(4, 12) + 5 * np.sin(2 * np.pi * (hours % 24 - 9) / 24)
    outdoor += np.repeat(np.clip(rng.normal(0, 2, days), -4, 4), STEPS_A_DAY)[:steps]
    people = _people(rng, hours % 24, meant_for)

    # Plain floats and lists: a step of numpy scalars takes ten times as long.
    co2, warmth = OUTDOOR_CO2_PPM + 100.0, comfort
    exchange = loss + AIR_HEAT_WHM3K * ventilation
    level, temperature = [], []
    for number, outside in zip(people.tolist(), outdoor.tolist(), strict=True):
        co2 += STEP_H * co2_change(co2, number, ventilation, volume)
        heat = number * PERSON_HEAT_W + radiator * max(comfort - warmth, 0.0)
        warmth += STEP_H * (heat + exchange * (outside - warmth)) / capacity
        level.append(co2)
        temperature.append(warmth)

    warm = np.array(temperature)
    humidity = 100 * (moisture + PERSON_MOISTURE_GM3 * people) / saturation_gm3(warm)
    rows = np.column_stack([level, warm, humidity]) + rng.normal(0, NOISE, (steps, len(COLUMNS)))
    return np.clip(rows, LOWEST, HIGHEST).astype(np.float32)


def co2_change(co2: float, people: float, ventilation: float, volume: float) -> float:
    """dC/dt, ppm an hour, in a room of `volume` m3 with `ventilation` m3/h of outdoor air."""
    return (1e6 * people * PERSON_CO2_M3H + ventilation * (OUTDOOR_CO2_PPM - co2)) / volume


def saturation_gm3(temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Water that air of `temperature` degC can hold, g/m3 (Magnus formula over water, WMO-No. 8 coefficients)."""
    pressure_hpa = 6.112 * np.exp(17.62 * temperature / (243.12 + temperature))
    held: NDArray[np.float64] = 216.7 * pressure_hpa / (273.15 + temperature)
    return held


def _people(rng: np.random.Generator, hour: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """How many people are in the room: at night and in the evening one at least, by day seldom any; they come and go
    every half hour."""
    come = np.repeat(rng.integers(0, most + 1, len(hour) // 30 + 1), 30)[: len(hour)]
    at_home = (hour < 8) | (hour > 17)
    return np.where(at_home, np.maximum(come, 1), come == most).astype(np.float64)


def _endless(seed: int) -> Iterator[Mapping[str, float]]:
    while True:
        for row in simulate(seed, CHUNK_STEPS).tolist():
            yield dict(zip(COLUMNS, row, strict=True))
