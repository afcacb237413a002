"""From what an operator names to rows: data sets, folders, simulated sensors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import msgspec

from kehefl.data.shard import Shard
from kehefl.errors import UsageError, nearest


class DataSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows of one device come from: a `dataset` and one of its clients (from 1), a `directory` of CSV files,
    or a `sensor` that simulates its own history of `history_s` seconds. `clients` is how many devices share the data
    set, `rows` limits the training rows to the first ones, `seed` makes simulated sensors differ."""

    dataset: str | None = None
    client: int | None = None
    clients: int | None = None
    directory: str | None = None
    sensor: str | None = None
    features: tuple[str, ...] = ()
    target: str | None = None
    rows: int | None = None
    seed: int = 0
    history_s: float = 604_800.0


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `kehefl data` tells of a data set; `units` has one for each feature and the target."""

    title: str
    source: str
    licence: str
    clients: int
    rows: int
    features: tuple[str, ...]
    target: str
    units: dict[str, str]


_DATASETS: Final = ("homes",)


def dataset_names() -> tuple[str, ...]:
    """Names that `--dataset` accepts."""
    return _DATASETS


def describe(name: str) -> DatasetInfo:
    """Facts about a data set; UsageError names the nearest when there is none of that name."""
    _check(name)
    from kehefl.data import homes

    return DatasetInfo(
        title="17 real homes, a year of hours each; the load of the coming hour from recent load, time and weather",
        source="CityLearn Challenge 2022 data in the PyPI package CityLearn 1.8.0 (Fontana, California)",
        licence="MIT",
        clients=homes.HOMES,
        rows=homes.HOMES * homes.ROWS,
        features=homes.FEATURES,
        target=homes.TARGET,
        units=dict(homes.UNITS),
    )


def client_names(dataset: str, clients: int) -> tuple[str, ...]:
    """Device ids for the clients of a data set that so many devices share. UsageError when they cannot."""
    _check(dataset)
    from kehefl.data import homes

    return homes.home_names(clients)


def open_shard(spec: DataSpec) -> Shard:
    """The rows that `spec` names. UsageError or DataError say what is wrong and what to do."""
    if sum(source is not None for source in (spec.directory, spec.dataset, spec.sensor)) > 1:
        raise UsageError("Data was named twice. Give one of --data DIR, --dataset NAME and --sensor NAME.")
    if spec.directory is not None:
        from kehefl.data.folder import open_folder

        shard = open_folder(_folder(spec.directory), spec.features, spec.target)
    elif spec.dataset is not None:
        _check(spec.dataset)
        from kehefl.data import homes

        shard = homes.open_home(
            1 if spec.client is None else spec.client, homes.HOMES if spec.clients is None else spec.clients
        )
        shard = _selected(shard, spec.features, spec.target)
    elif spec.sensor is not None:
        from kehefl.data.sensors import simulated_shard

        shard = simulated_shard(spec.sensor, spec.features, spec.target, spec.seed, spec.history_s)
    else:
        raise UsageError("No data was named: give --data DIR, --dataset NAME or --sensor NAME.")
    return shard.limited(spec.rows) if spec.rows is not None else shard


def _folder(typed: str) -> Path:
    try:
        return Path(typed).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"The home directory in '{typed[:200]}' is not known. Give the folder's whole path."
        ) from error


def _selected(shard: Shard, features: tuple[str, ...], target: str | None) -> Shard:
    """Some of a data set's features; its target is fixed."""
    if target is not None and target != shard.target:
        raise UsageError(f"'{shard.source}' has the target '{shard.target}', not '{target}'. Leave --target out.")
    if not features:
        return shard
    if len(set(features)) < len(features):
        raise UsageError(f"A feature is named twice in {', '.join(features)}. Name each once.")
    for feature in features:
        if feature not in shard.features:
            raise UsageError(f"'{shard.source}' has no feature '{feature}'. {nearest(feature, shard.features)}")
    columns = [shard.features.index(feature) for feature in features]
    return dataclasses.replace(
        shard,
        features=features,
        x_train=shard.x_train[:, columns].copy(),
        x_test=shard.x_test[:, columns].copy(),
    )


def _check(name: str) -> None:
    if name not in _DATASETS:
        raise UsageError(f"There is no data set '{name[:60]}'. {nearest(name, _DATASETS)} See: kehefl data list")
