"""`kehefl data`: the data sets that ship with kehefl, and what a folder of recordings holds."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from kehefl.cli.common import sentences, split_names
from kehefl.data.open import DataSpec, dataset_names, describe, open_shard


@click.group("data")
def command() -> None:
    """Data sets and recordings."""


@command.command("list")
def list_() -> None:
    """The data sets that a device can use with --dataset."""
    for name in dataset_names():
        info = describe(name)
        click.echo(f"{name:<10} {info.clients} clients, {info.rows} rows: {info.title}")


@command.command("show")
@click.argument("name")
@click.option(
    "--client", metavar="K", type=click.IntRange(1), default=1, show_default=True, help="which client of a data set"
)
@click.option("--features", metavar="A,B", help="columns of a folder to learn from")
@click.option("--target", metavar="T", help="column of a folder to learn")
def show(name: str, client: int, features: str | None, target: str | None) -> None:
    """A data set (NAME) or a folder of CSV files: rows, ranges, what was skipped."""
    with sentences():
        if Path(name).is_dir():
            spec = DataSpec(directory=name, features=split_names(features), target=target)
        else:
            info = describe(name)
            click.echo(f"{info.title}\nsource: {info.source}\nlicence: {info.licence}\nclients: {info.clients}")
            spec = DataSpec(dataset=name, client=client)
        shard = open_shard(spec)
        click.echo(f"{shard.name}: {len(shard.y_train)} rows to train on, {len(shard.y_test)} held out")
        columns = [*shard.features, shard.target]
        rows = np.column_stack(
            [np.vstack([shard.x_train, shard.x_test]), np.concatenate([shard.y_train, shard.y_test])]
        )
        for index, column in enumerate(columns):
            role = "target" if index == len(columns) - 1 else "feature"
            values = rows[:, index]
            click.echo(
                f"  {column:<24} {role:<8} {values.min():>12.4g} to {values.max():<12.4g} mean {values.mean():.4g}"
            )
        for note in shard.notes:
            click.echo(f"note: {note}")
