"""`scd30`: the Sensirion SCD30 over I2C, CO2 by infrared absorption; needs the extra `sensors` and a board with I2C."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from kehefl.errors import UsageError

#: The sensor measures every two seconds; that long a reading is waited for, twice over.
READY_WITHIN_S: Final = 5.0
ASK_EVERY_S: Final = 0.1


class Scd30:
    """CO2 in ppm, temperature in degC, relative humidity in percent. UsageError where the driver is not installed."""

    name = "scd30"
    columns = ("co2", "temperature", "humidity")

    def __init__(self) -> None:
        try:
            # By name: on other machines than a board there is nothing to check types against.
            adafruit_scd30, board, busio = map(import_module, ("adafruit_scd30", "board", "busio"))
        except ImportError as error:
            raise UsageError(
                f"The driver of the SCD30 is not installed ({error}). Install it: pip install 'kehefl[sensors]'"
            ) from error
        self._driver: Any = adafruit_scd30.SCD30(busio.I2C(board.SCL, board.SDA))

    def read(self) -> Mapping[str, float]:
        """The next measurement; OSError when none is ready in time or a checksum is wrong. Waits; call it from a
        thread."""
        try:
            return self._measured()
        except RuntimeError as error:
            # The driver's word for a checksum that does not fit; the next reading is usually whole.
            raise OSError(f"The SCD30 answered something else ({error}). Check its wiring.") from error

    def _measured(self) -> Mapping[str, float]:
        last = time.monotonic() + READY_WITHIN_S
        while not self._driver.data_available:
            if time.monotonic() > last:
                raise OSError(f"The SCD30 had no measurement within {READY_WITHIN_S:g} s. Check its wiring.")
            time.sleep(ASK_EVERY_S)
        return {
            "co2": float(self._driver.CO2),
            "temperature": float(self._driver.temperature),
            "humidity": float(self._driver.relative_humidity),
        }
