"""`kehefl ctl`: one command of the console's language to a running server; the exit status tells."""

from __future__ import annotations

import asyncio
import os
import shlex

import click

from kehefl.cli.common import broker_options, sentences
from kehefl.device.device import DEFAULT_BROKER
from kehefl.protocol.topics import Topics
from kehefl.server.commands import describe, parse
from kehefl.server.control import control
from kehefl.transport.address import BrokerAddress


@click.command("ctl", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="COMMAND...")
@broker_options
def command(words: tuple[str, ...], broker: str | None, federation: str | None, prefix: str) -> None:
    """Send COMMAND to a running server, for example: kehefl ctl run start federated rounds=20

    `kehefl ctl help` lists the commands. Exit status: 0 done, 1 refused (the server's reason on stderr), 2 bad usage.
    """
    with sentences():
        line = shlex.join(words)
        parsed = parse(line)
        if parsed.verb.name == "help":
            click.echo(describe(" ".join(parsed.targets)))
            return
        address = BrokerAddress.parse(broker or os.environ.get("KEHEFL_BROKER") or DEFAULT_BROKER)
        click.echo(asyncio.run(control(address, Topics(federation or "default", prefix), line)))
