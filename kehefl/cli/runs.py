"""`kehefl runs`: what was recorded, newest first."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from kehefl.cli.common import sentences, state_option
from kehefl.server.runlog import RunLog, RunRow
from kehefl.server.state import default_state


@click.command("runs")
@state_option
@click.option("--json", "as_json", is_flag=True, help="print a JSON array")
def command(state: str | None, as_json: bool) -> None:
    """List recorded runs, newest first."""
    with sentences():
        log = RunLog(Path(state) if state else default_state())
        rows = log.runs()
        log.close()
        if as_json:
            sys.stdout.buffer.write(msgspec.json.encode([_object(row) for row in rows]) + b"\n")
            return
        if not rows:
            click.echo("No run has been recorded yet. Start one: kehefl run federated --virtual 4")
        for row in rows:
            started = f"{datetime.fromtimestamp(row.started_at):%Y-%m-%d %H:%M}"
            click.echo(
                f"{row.run}  {started}  {row.scenario:<11} {row.status:<11} {row.rounds_completed}/{row.rounds} rounds"
            )


def _object(row: RunRow) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(row)
    values["run_id"] = values.pop("run")
    values["settings"] = msgspec.json.decode(row.settings)
    return values
