"""`kehefl-console`: the operator console, hosting the server core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import click

from kehefl import __version__
from kehefl.cli.common import broker_options, sentences, split_names, state_option
from kehefl.errors import RefusedError
from kehefl.experiments.testbed import TestbedSettings, check_data, testbed
from kehefl.server.core import Server
from kehefl.server.state import default_state

RUN_LINE: Final = "run start federated rounds=20"
#: Virtual homes train in milliseconds; a pace lets people see the rounds go by.
DEMO_LINE: Final = "run start federated rounds=20 pace=1s"


@click.command("kehefl-console")
@broker_options
@state_option
@click.option(
    "--demo", metavar="N", type=click.IntRange(1, 1000), default=None, help="also start N virtual devices on real data"
)
@click.option("--model", metavar="MODULE:CLASS", help="models of your own, separated by commas")
@click.option("--attach", is_flag=True, help="join a running kehefl server")
@click.option("--read-only", is_flag=True, help="look, but change nothing")
@click.option("--once", is_flag=True, help="print one plain-text picture and exit")
@click.option("--ascii", "ascii_only", is_flag=True, help="draw with ASCII characters only")
@click.option("--theme", metavar="NAME", help="dark or light")
@click.version_option(__version__, prog_name="kehefl")
def cli(
    broker: str | None,
    federation: str | None,
    prefix: str,
    state: str | None,
    demo: int | None,
    model: str | None,
    attach: bool,
    read_only: bool,
    once: bool,
    ascii_only: bool,
    theme: str | None,
) -> None:
    """The operator console. It hosts the server core; devices join with kehefl-device.

    For a first look: kehefl-console --demo 4
    """
    with sentences():
        if attach:
            raise RefusedError(
                "Attaching is not in this version yet. Drive a running server with kehefl ctl, or host the core here: "
                "kehefl-console --broker URL"
            )
        around = TestbedSettings(
            broker=broker,
            federation=federation,
            prefix=prefix,
            state=state,
            virtual=demo or 0,
            dataset="homes" if demo else None,
            models=split_names(model),
        )
        check_data(around)

        def open_core() -> AbstractAsyncContextManager[Server]:
            return testbed(around, patient=True)

        if once:
            click.echo(asyncio.run(_picture(open_core)))
            return
        from kehefl.tui.main import run_console

        directory = Path(state) if state else default_state()
        status = run_console(
            open_core,
            title_note=f"demo: {demo} virtual homes" if demo else "",
            read_only=read_only,
            ascii_only=ascii_only,
            history_path=directory / "history",
            log_path=directory / "console.log",
            theme=theme,
            run_line=DEMO_LINE if demo else RUN_LINE,
        )
    raise SystemExit(status)


async def _picture(open_core: Callable[[], AbstractAsyncContextManager[Server]]) -> str:
    """What the console would show once the broker and the devices are there, as plain text."""
    from kehefl.tui.main import once

    async with open_core() as server:
        return await once(server)


def main() -> None:
    """Entry point of `kehefl-console`."""
    with sentences():
        cli()
