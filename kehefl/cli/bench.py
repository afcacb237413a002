"""`kehefl bench`: figures, with the floor beside them."""

from __future__ import annotations

import asyncio
import sys

import click
import msgspec

from kehefl.cli.common import sentences
from kehefl.errors import UsageError


@click.group("bench")
def command() -> None:
    """Measure kehefl beside a loop of bare aiomqtt and numpy, on the same broker in the same run."""


@command.command("rounds")
@click.option("--devices", metavar="N,...", default="10", show_default=True)
@click.option("--parameters", metavar="P,...", default="2", show_default=True)
@click.option("--rounds", metavar="R", type=click.IntRange(3), default=60, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def rounds_(devices: str, parameters: str, rounds: int, as_json: bool) -> None:
    """Milliseconds a round with trivial training, for each number of devices and parameters."""
    from kehefl.bench.rounds import bench_rounds

    with sentences():
        cells = asyncio.run(bench_rounds(_numbers(devices), _numbers(parameters), rounds))
        if as_json:
            sys.stdout.buffer.write(msgspec.json.encode({"cells": cells}) + b"\n")
            return
        click.echo(
            f"{'devices':>8} {'parameters':>11} {'kehefl ms':>10} {'floor ms':>10} {'ratio':>6} {'server MiB':>11}"
        )
        for cell in cells:
            click.echo(
                f"{cell.devices:>8} {cell.parameters:>11} {cell.kehefl_ms:>10.2f} {cell.floor_ms:>10.2f} "
                f"{cell.ratio:>6.2f} {cell.server_peak_rss_mib:>11.1f}"
            )


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(float(number)) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"'{text}' is not a list of numbers. For example: 2,10,50") from None
    if any(number < 1 for number in numbers):
        raise UsageError(f"'{text}' holds a number below 1. For example: 2,10,50")
    return numbers
