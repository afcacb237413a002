"""`kehefl broker start`: a broker for development on this machine."""

from __future__ import annotations

import asyncio

import click

from kehefl.cli.common import sentences
from kehefl.cli.signals import run_until_signal
from kehefl.transport.broker import BrokerKind, obtain_broker


@click.group("broker")
def command() -> None:
    """Brokers."""


@command.command("start")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="[default: a free one]")
def start(port: int | None) -> None:
    """Start a development broker, for this machine only, and keep it until stopped."""

    async def serve() -> None:
        handle = await obtain_broker(port=port, environ={}, exclude=frozenset[BrokerKind]({"found"}))
        try:
            click.echo(handle.description)
            click.echo(f"Use it with --broker {handle.address.url}. Stop it with Ctrl+C.")
            await asyncio.Event().wait()
        finally:
            await handle.stop()

    with sentences():
        try:
            run_until_signal(serve)
        except KeyboardInterrupt:
            click.echo("Stopped.")
