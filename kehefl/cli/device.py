"""`kehefl-device`: a device, headless. What it does not use it does not import: a Pi has little memory."""

from __future__ import annotations

import sys
from typing import Any

import click

from kehefl import __version__
from kehefl.cli.common import broker_options, run_until_signal, sentences, split_names
from kehefl.device.device import Device
from kehefl.device.told import Told
from kehefl.errors import RefusedError


@click.command("kehefl-device")
@click.argument("device_id", metavar="ID")
@broker_options
@click.option("--data", metavar="DIR", help="folder of CSV files (a sensor records into it)")
@click.option("--features", metavar="A,B", help="columns to learn from")
@click.option("--target", metavar="T", help="column to learn")
@click.option("--dataset", metavar="NAME", help="a data set that ships with kehefl")
@click.option("--client", metavar="K", type=click.IntRange(1), help="which client of the data set [default: 1]")
@click.option("--rows", metavar="N", type=click.IntRange(1), help="training rows at most")
@click.option("--sensor", metavar="NAME", help="room (simulated), or my_module:MySensor")
@click.option(
    "--interval",
    metavar="S",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="seconds between readings",
)
@click.option(
    "--model", metavar="MODULE:CLASS", help="models of your own that may be trained here, separated by commas"
)
@click.option("--trainer", type=click.Choice(["thread", "process"]), default="thread", show_default=True,
              help="process: for models that never release the interpreter")  # fmt: skip
@click.option(
    "--fleet", metavar="N", type=click.IntRange(1, 5000), help="N virtual devices in this process (ID-0000 ...)"
)
@click.option("--tui", is_flag=True, help="a small screen")
@click.option("--json", "as_json", is_flag=True, help="a JSON object per event")
@click.version_option(__version__, prog_name="kehefl")
def cli(device_id: str, **options: Any) -> None:
    """Take part in a federation as device ID until stopped.

    For example: kehefl-device pi-03 --broker mqtt://server:1883 --data ./recordings --features co2,humidity --target temperature
    """
    with sentences():
        if options["tui"]:
            raise RefusedError(
                "The device's own screen is not in this version yet. Leave --tui out: it prints a line an event."
            )
        tell = _tell_json if options["as_json"] else _tell_text
        try:
            run_until_signal(lambda: _serve(device_id, options, tell))
        except KeyboardInterrupt:
            tell(Told(device=device_id, kind="stopped", text="stopped"))


async def _serve(device_id: str, options: dict[str, Any], tell: Any) -> None:
    common = {
        "broker": options["broker"],
        "data": options["data"],
        "features": split_names(options["features"]),
        "target": options["target"],
        "dataset": options["dataset"],
        "rows": options["rows"],
        "sensor": options["sensor"],
        "interval_s": options["interval"],
        "models": split_names(options["model"]),
        "federation": options["federation"] or "default",
        "prefix": options["prefix"],
        "trainer": options["trainer"],
        "tell": tell,
    }
    if number := options["fleet"]:
        from kehefl.device.fleet import run_devices

        client = options["client"] or 1
        members = [
            Device(f"{device_id}-{index:04d}", client=client + index, clients=client + number - 1, **common)
            for index in range(number)
        ]
        await run_devices(members)
        return
    client = options["client"] or (1 if options["dataset"] else None)
    await Device(device_id, client=client, **common).run()


def _tell_text(told: Told) -> None:
    loss = f", loss {told.loss:.4g}" if told.loss is not None else ""
    click.echo(f"{told.device}  {told.kind:<9} {told.text}{loss}")
    sys.stdout.flush()


def _tell_json(told: Told) -> None:
    import msgspec

    click.echo(msgspec.json.encode(told).decode())
    sys.stdout.flush()


def main() -> None:
    """Entry point of `kehefl-device`."""
    with sentences():
        cli()
