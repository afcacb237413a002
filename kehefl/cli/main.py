"""`kehefl`: the command with everything below it. Each subcommand is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from kehefl import __version__
from kehefl.cli.common import sentences
from kehefl.errors import nearest

_COMMANDS: Final = {
    "run": ("kehefl.cli.run", "server, devices, one run, a summary"),
    "server": ("kehefl.cli.server", "the server core without a screen"),
    "ctl": ("kehefl.cli.ctl", "one command to a running server"),
    "runs": ("kehefl.cli.runs", "what was recorded"),
    "export": ("kehefl.cli.export", "a recorded run as CSV, JSON lines or Parquet"),
    "data": ("kehefl.cli.data", "data sets and recordings"),
    "broker": ("kehefl.cli.broker", "a development broker"),
    "bench": ("kehefl.cli.bench", "figures, with the floor beside them"),
    "doctor": ("kehefl.cli.doctor", "versions, broker, clock, disk, extras"),
}


class _Lazy(click.Group):
    """Knows its commands by name, and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list without importing every command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()])


@click.group(cls=_Lazy)
@click.version_option(__version__, prog_name="kehefl")
def cli() -> None:
    """Federated learning with IoT devices over MQTT. The console is kehefl-console, a device kehefl-device."""


def main() -> None:
    """Entry point of `kehefl`."""
    with sentences():
        cli()
