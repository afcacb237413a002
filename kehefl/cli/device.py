"""`kehefl-device`: a device, headless. What it does not use it does not import: a Pi has little memory.

It parses its options with argparse, which costs half a megabyte less than what the other commands use.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from kehefl import __version__
from kehefl.cli.signals import BAD_USAGE, FAILED, run_until_signal
from kehefl.device.device import Device
from kehefl.device.told import Tell, Told
from kehefl.errors import KeheflError, RefusedError, UsageError
from kehefl.telemetry.process import use_one_arena

_EXAMPLE: Final = """\
for example:
  kehefl-device pi-03 --broker mqtt://server:1883 --data ./recordings --features co2,humidity --target temperature
  kehefl-device pi-04 --broker mqtt://server:1883 --dataset homes --client 4
"""


def main() -> None:
    """Entry point of `kehefl-device`."""
    use_one_arena()
    options = _parser().parse_args()
    tell = _tell_json if options.json else _tell_text
    try:
        if options.tui:
            raise RefusedError("The device's own screen is not in this version yet. Leave --tui out: a line an event.")
        run_until_signal(lambda: _serve(options, tell))
    except KeyboardInterrupt:
        tell(Told(device=options.id, kind="stopped", text="stopped"))
    except KeheflError as error:
        sys.stderr.write(f"kehefl-device: {error}\n")
        raise SystemExit(BAD_USAGE if isinstance(error, UsageError) else FAILED) from None


async def _serve(options: argparse.Namespace, tell: Tell) -> None:
    common: dict[str, Any] = {
        "broker": options.broker,
        "data": options.data,
        "features": _names(options.features),
        "target": options.target,
        "dataset": options.dataset,
        "rows": options.rows,
        "sensor": options.sensor,
        "interval_s": options.interval,
        "models": _names(options.model),
        "federation": options.federation,
        "prefix": options.prefix,
        "trainer": options.trainer,
        "tell": tell,
    }
    if options.fleet is None:
        client = options.client or (1 if options.dataset else None)
        await Device(options.id, client=client, **common).run()
        return
    from kehefl.device.fleet import run_devices

    first, number = options.client or 1, options.fleet
    await run_devices(
        [
            Device(f"{options.id}-{index:04d}", client=first + index, clients=first + number - 1, **common)
            for index in range(number)
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kehefl-device",
        description="Take part in a federation as device ID until stopped.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("id", metavar="ID", help="1 to 64 lower-case letters, digits and hyphens")
    add("--broker", metavar="URL", help="mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://... [env: KEHEFL_BROKER]")
    add("--federation", metavar="NAME", default="default", help="which federation on the broker")
    add("--prefix", metavar="TOPIC", default="kehefl", help="first levels of all topics")
    add("--data", metavar="DIR", help="folder of CSV files (a sensor records into it)")
    add("--features", metavar="A,B", help="columns to learn from")
    add("--target", metavar="T", help="column to learn")
    add("--dataset", metavar="NAME", help="a data set that ships with kehefl")
    add("--client", metavar="K", type=_positive, help="which client of the data set [default: 1]")
    add("--rows", metavar="N", type=_positive, help="training rows at most")
    add("--sensor", metavar="NAME", help="room (simulated), or my_module:MySensor")
    add("--interval", metavar="S", type=_seconds, default=5.0, help="seconds between readings [default: 5]")
    add("--model", metavar="MODULE:CLASS", help="models of your own that may be trained here, separated by commas")
    add("--trainer", choices=["thread", "process"], default="thread",
        help="process: for models that never release the interpreter")  # fmt: skip
    add("--fleet", metavar="N", type=_positive, help="N virtual devices in this process (ID-0000 ...)")
    add("--tui", action="store_true", help="a small screen")
    add("--json", action="store_true", help="a JSON object per event")
    add("--version", action="version", version=f"kehefl {__version__}")
    return parser


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 0.01 to 86400")
    return seconds


def _tell_text(told: Told) -> None:
    loss = f", loss {told.loss:.4g}" if told.loss is not None else ""
    sys.stdout.write(f"{told.device}  {told.kind:<9} {told.text}{loss}\n")
    sys.stdout.flush()


def _tell_json(told: Told) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
