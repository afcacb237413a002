"""`kehefl export`: a recorded run as a file."""

from __future__ import annotations

from pathlib import Path

import click

from kehefl.cli.common import sentences, state_option
from kehefl.server.commands import EXPORT_FORMATS
from kehefl.server.export import export_run
from kehefl.server.state import default_state


@click.command("export")
@click.argument("run")
@click.option("--format", "form", type=click.Choice(EXPORT_FORMATS), default="csv", show_default=True)
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="[default: RUN.FORMAT]")
@state_option
def command(run: str, form: str, out: Path | None, state: str | None) -> None:
    """Write RUN (an id or its beginning, see kehefl runs) to a file and print its path."""
    with sentences():
        click.echo(str(export_run(Path(state) if state else default_state(), run, form, out)))
