"""Recording a sensor beside the agent: a row every few seconds, until cancelled."""

from __future__ import annotations

import asyncio
import inspect
from datetime import datetime
from pathlib import Path

from kehefl.data.recorder import Recorder
from kehefl.data.sensors import Sensor
from kehefl.device.told import Tell, Told

#: A sensor that hangs (a bus without an answer) is reported and asked again.
READ_LIMIT_S = 30.0


async def record(sensor: Sensor, directory: Path, interval_s: float, device: str, tell: Tell) -> None:
    """Read `sensor` every `interval_s` seconds into daily CSV files in `directory`. A failed reading is told."""
    recorder = Recorder(directory, sensor.columns)
    tell(Told(device=device, kind="recording", text=f"recording {sensor.name} to {directory} every {interval_s:g} s"))
    while True:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                values = await asyncio.to_thread(sensor.read)
                if inspect.isawaitable(values):
                    values = await values
            await asyncio.to_thread(recorder.append, datetime.now(), values)
        except Exception as error:  # noqa: BLE001 - a user's sensor may raise anything; recording goes on
            tell(
                Told(device=device, kind="recording", text=f"{sensor.name} could not be read: {error!r}; trying again")
            )
        await asyncio.sleep(interval_s)
