"""`kehefl doctor`: is this machine, and the broker, as kehefl needs them?"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

import click

from kehefl import __version__
from kehefl.cli.common import broker_options, sentences, state_option
from kehefl.cli.signals import FAILED
from kehefl.errors import KeheflError
from kehefl.server.runlog import RunLog
from kehefl.server.state import default_state
from kehefl.transport.address import BrokerAddress
from kehefl.transport.broker import BrokerHandle, obtain_broker
from kehefl.transport.mosquitto import find_mosquitto
from kehefl.transport.probe import probe

PACKAGES: Final = ("aiomqtt", "paho-mqtt", "textual", "numpy", "msgspec", "safetensors")
EXTRAS: Final = {"embedded": "iotcore", "sensors": "adafruit_scd30", "report": "pyarrow"}
LEAST_FREE_MIB: Final = 200
#: Before this nobody has run kehefl: a Pi without a clock that was not set yet starts in the past.
EARLIEST_YEAR: Final = 2026


class Finding(NamedTuple):
    """One line: whether it is well, what was looked at, what was found."""

    well: bool | None
    subject: str
    found: str


@click.command("doctor")
@broker_options
@state_option
def command(broker: str | None, federation: str | None, prefix: str, state: str | None) -> None:
    """Look at versions, the broker and its latency, clock, disk and extras; exit status 1 if something is wrong."""
    del federation, prefix
    with sentences():
        directory = Path(state) if state else default_state()
        findings = [*_machine(), *_disk(directory), *_extras(), *asyncio.run(_broker(broker))]
        for finding in findings:
            glyph = {True: "✓", False: "✗", None: "·"}[finding.well]
            click.echo(f"{glyph} {finding.subject:<10} {finding.found}")
        if any(finding.well is False for finding in findings):
            raise SystemExit(FAILED)


def _machine() -> Iterator[Finding]:
    yield Finding(
        True, "kehefl", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(False, "packages", f"{package} is missing. Install kehefl again: pip install kehefl")
    yield Finding(True, "packages", ", ".join(found))
    from datetime import datetime

    now = datetime.now().astimezone()
    text = f"{now:%Y-%m-%d %H:%M:%S %Z}"
    if now.year < EARLIEST_YEAR:
        yield Finding(
            False, "clock", f"{text} lies in the past. Set it (timedatectl): recordings are named by the day."
        )
    else:
        yield Finding(True, "clock", text)


def _disk(state: Path) -> Iterator[Finding]:
    try:
        log = RunLog(state)
        runs = len(log.runs())
        log.close()
        free_mib = shutil.disk_usage(state).free >> 20
    except KeheflError as error:
        yield Finding(False, "state", str(error))
        return
    text = f"{state}: {runs} runs recorded, {free_mib:,} MiB free"
    yield Finding(
        free_mib >= LEAST_FREE_MIB, "state", text if free_mib >= LEAST_FREE_MIB else f"{text}. Free some space."
    )


def _extras() -> Iterator[Finding]:
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        advice = "installed" if there else f"not installed; pip install 'kehefl[{extra}]' if you need it"
        yield Finding(True if there else None, "extra", f"{extra}: {advice}")
    program = find_mosquitto()
    embedded = importlib.util.find_spec("iotcore") is not None
    if program:
        yield Finding(True, "mosquitto", program)
    else:
        advice = "the embedded broker will do for a first look" if embedded else "there is no embedded broker either"
        yield Finding(None if embedded else False, "mosquitto", f"not found; {advice}. apt install mosquitto")


async def _broker(url: str | None) -> list[Finding]:
    handle: BrokerHandle | None = None
    try:
        handle = await obtain_broker(url, environ=os.environ)
        return await _examined(handle.address, handle.description)
    except KeheflError as error:
        return [Finding(False, "broker", str(error))]
    finally:
        if handle is not None:
            await handle.stop()


async def _examined(address: BrokerAddress, description: str) -> list[Finding]:
    facts = await probe(address)
    if not facts.answers:
        return [Finding(False, "broker", facts.reason)]
    limit = "no limit told" if facts.max_packet_bytes is None else f"packets up to {facts.max_packet_bytes:,} bytes"
    found = [
        Finding(True, "broker", description),
        Finding(True, "broker", f"MQTT {facts.mqtt}, {limit}, {facts.latency_ms:.2f} ms there and back"),
    ]
    if facts.max_packet_bytes is not None and facts.max_packet_bytes < 65_536:
        found.append(
            Finding(False, "broker", "Its packets are too small for models. Raise max_packet_size to 1 MB or more.")
        )
    return [*found, *(Finding(False, "broker", warning) for warning in facts.warnings)]
