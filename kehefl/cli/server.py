"""`kehefl server`: the server core without a screen, a line per event."""

from __future__ import annotations

import asyncio

import click
import msgspec

from kehefl.cli.common import broker_options, sentences, split_names, state_option
from kehefl.cli.describe import describe_event
from kehefl.cli.signals import run_until_signal
from kehefl.server.core import Server
from kehefl.server.events import Stamped


@click.command("server")
@broker_options
@state_option
@click.option("--model", metavar="MODULE:CLASS", help="models of your own, separated by commas")
@click.option("--json", "as_json", is_flag=True, help="a JSON object per event")
def command(
    broker: str | None, federation: str | None, prefix: str, state: str | None, model: str | None, as_json: bool
) -> None:
    """Serve a federation until stopped. Drive it with: kehefl ctl run start federated"""

    def tell(stamped: Stamped) -> None:
        if as_json:
            click.echo(msgspec.json.encode(stamped).decode())
        elif text := describe_event(stamped):
            click.echo(text)

    async def serve() -> None:
        server = Server(
            broker=broker,
            federation=federation or "default",
            prefix=prefix,
            state=state,
            models=split_names(model),
        )
        async with server:
            for stamped in server.snapshot():
                tell(stamped)
            server.subscribe(tell)
            click.echo(f"Serving at {server.broker_url}. Devices: kehefl-device ID --broker {server.broker_url} ...")
            await asyncio.Event().wait()

    with sentences():
        try:
            run_until_signal(serve)
        except KeyboardInterrupt:
            click.echo("Stopped; a run that was going on is kept and can be resumed.")
