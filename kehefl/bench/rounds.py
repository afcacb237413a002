"""Milliseconds a round: kehefl and the floor on one broker, alternating, over a grid of devices and parameters."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from kehefl.bench import floor
from kehefl.bench.trivial import SIZE_VARIABLE, SPEC
from kehefl.data.open import DataSpec
from kehefl.device.fleet import FleetConfig, Member
from kehefl.errors import KeheflError
from kehefl.experiments.testbed import FleetProcess
from kehefl.server.core import Server
from kehefl.server.events import RoundOpened, Stamped
from kehefl.telemetry.process import read_process
from kehefl.transport.address import BrokerAddress
from kehefl.transport.broker import BrokerHandle, obtain_broker

#: Each side is measured in so many turns, so that a slow moment of the machine meets both.
TURNS: Final = 3
CELL_LIMIT_S: Final = 300.0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the grid: medians over all rounds, and kehefl's over the floor's."""

    devices: int
    parameters: int
    rounds: int
    kehefl_ms: float
    floor_ms: float
    ratio: float
    server_peak_rss_mib: float


async def bench_rounds(devices: Sequence[int], parameters: Sequence[int], rounds: int) -> list[Cell]:
    """Measure every combination with at least `rounds` rounds a side."""
    handle = await obtain_broker(environ={}, exclude=frozenset({"found"}))
    try:
        with tempfile.TemporaryDirectory(prefix="kehefl-bench-") as folder:
            return [
                await _cell(handle, Path(folder), number, size, rounds) for size in parameters for number in devices
            ]
    finally:
        await handle.stop()


async def _cell(handle: BrokerHandle, folder: Path, devices: int, parameters: int, rounds: int) -> Cell:
    kehefl_ms: list[float] = []
    floor_ms: list[float] = []
    per_turn = -(-rounds // TURNS)
    async with asyncio.timeout(CELL_LIMIT_S):
        for _ in range(TURNS):
            floor_ms += await _floor(handle.address, devices, parameters, per_turn)
            kehefl_ms += await _kehefl(handle, folder, devices, parameters, per_turn)
    ours, theirs = statistics.median(kehefl_ms), statistics.median(floor_ms)
    return Cell(
        devices=devices,
        parameters=parameters,
        rounds=len(kehefl_ms),
        kehefl_ms=round(ours, 3),
        floor_ms=round(theirs, 3),
        ratio=round(ours / theirs, 3),
        server_peak_rss_mib=round(read_process().peak_rss_mib, 1),
    )


async def _floor(address: BrokerAddress, devices: int, parameters: int, rounds: int) -> list[float]:
    topic = f"kehefl-floor/{secrets.token_hex(4)}"
    async with _floor_devices(address, topic, devices):
        # The first round warms up.
        return (await floor.server(address, topic, devices, parameters, rounds + 1))[1:]


@asynccontextmanager
async def _floor_devices(address: BrokerAddress, topic: str, devices: int) -> AsyncIterator[None]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kehefl.bench.floor", address.host, str(address.port), topic, str(devices)
    )
    try:
        yield
    finally:
        child.kill()
        await child.wait()


async def _kehefl(handle: BrokerHandle, folder: Path, devices: int, parameters: int, rounds: int) -> list[float]:
    os.environ[SIZE_VARIABLE] = str(parameters)
    rows = folder / "rows"
    rows.mkdir(exist_ok=True)
    (rows / "rows.csv").write_text("x,y\n" + "1,2\n" * 5, encoding="utf-8")
    spec = DataSpec(directory=str(rows), features=("x",), target="y")
    federation = f"bench-{secrets.token_hex(4)}"
    config = FleetConfig(
        broker=handle.address,
        members=tuple(Member(f"bench-{index:04d}", spec) for index in range(devices)),
        federation=federation,
        models=(SPEC,),
    )
    opened: list[float] = []

    def take(stamped: Stamped) -> None:
        if isinstance(stamped.event, RoundOpened):
            opened.append(stamped.at)

    server = Server(broker=handle, federation=federation, state=folder / "state", models=(SPEC,), ephemeral=True)
    async with server, FleetProcess(config, folder / "fleet.log"):
        server.subscribe(take)
        # From one opening to the next, so that closing, checkpoint and commit are in it; the first one warms up.
        result = await server.execute(f"run start federated rounds={rounds + 1} model={SPEC} devices={devices}")
    if isinstance(result, str) or result.status != "done":
        raise KeheflError(f"The run for the benchmark did not end well: {result}. Look at {folder}.")
    return [1000 * (after - before) for before, after in pairwise(opened[2:])]
