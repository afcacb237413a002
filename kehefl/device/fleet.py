"""Many devices in one process: the same agent over the same MQTT connections as on a board.

As a child (`python -m kehefl.device.fleet`) it reads its configuration from stdin, so that no password shows in a
process list, and ends when its input ends: whatever becomes of its parent, it does not stay behind.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from kehefl.data.open import DataSpec
from kehefl.device.device import Device
from kehefl.device.told import Tell, silent
from kehefl.errors import KeheflError
from kehefl.protocol.topics import DEFAULT_FEDERATION, DEFAULT_PREFIX
from kehefl.transport.address import BrokerAddress

#: Devices that connect at the same time: a thousand at once only wait for each other.
CONNECTING_AT_ONCE: Final = 32


class Member(msgspec.Struct, frozen=True):
    """One device of a fleet: its id and its data."""

    device: str
    data: DataSpec


class FleetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet process is told on its stdin, as one line of JSON."""

    broker: BrokerAddress
    members: tuple[Member, ...]
    federation: str = DEFAULT_FEDERATION
    prefix: str = DEFAULT_PREFIX
    models: tuple[str, ...] = ()
    trainer: str = "thread"
    telemetry_every_s: float = 2.0


async def run_fleet(config: FleetConfig, tell: Tell = silent) -> None:
    """Run all members until cancelled, with one pool of training threads. Raises as `run_devices` does."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="training")
    try:
        await run_devices(
            [
                Device(
                    member.device,
                    broker=config.broker,
                    data=member.data,
                    federation=config.federation,
                    prefix=config.prefix,
                    models=config.models,
                    trainer=config.trainer,
                    pool=pool,
                    tell=tell,
                    telemetry_every_s=config.telemetry_every_s,
                )
                for member in config.members
            ]
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def run_devices(devices: Sequence[Device]) -> None:
    """Run devices until cancelled. One that cannot go on is told on stderr; the others do.

    Raises the KeheflError of the first when none of them could.
    """
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    failures: list[KeheflError] = []

    async def run(device: Device) -> None:
        try:
            await device.run(gate)
        except KeheflError as error:
            failures.append(error)
            sys.stderr.write(f"{device.device}: {error}\n")

    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(run(device))
    if failures and len(failures) == len(devices):
        raise failures[0]


async def _serve(config: FleetConfig) -> None:
    """Run the fleet until stdin ends or a signal comes."""
    loop = asyncio.get_running_loop()
    fleet = asyncio.create_task(run_fleet(config))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.cancel)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    parent = asyncio.create_task(reader.read())
    parent.add_done_callback(lambda _: fleet.cancel())
    with contextlib.suppress(asyncio.CancelledError):
        await fleet


def main() -> None:
    line = sys.stdin.buffer.readline()
    if not line:
        return
    try:
        asyncio.run(_serve(msgspec.json.decode(line, type=FleetConfig)))
    except KeheflError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
