"""The settings of a run: names, types, defaults, limits and help, declared once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from kehefl.errors import UsageError, nearest

Scenario = Literal["federated", "centralized", "local"]
SCENARIOS: Final[tuple[Scenario, ...]] = ("federated", "centralized", "local")


class RunSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides how a run proceeds. Equal settings, rows and participants give equal weights, bit for bit."""

    rounds: Annotated[int, Meta(ge=1, le=1_000_000, description="training rounds")] = 20
    local_epochs: Annotated[int, Meta(ge=1, le=1_000_000, description="epochs a device trains in each round")] = 3
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000, description="rows per gradient step")] = 32
    learning_rate: Annotated[float, Meta(gt=0.0, le=1000.0, description="step size of local training")] = 0.005
    model: Annotated[str, Meta(min_length=1, max_length=128, description="model kind or module:Class")] = "linear"
    strategy: Annotated[str, Meta(min_length=1, max_length=64, description="how updates become one model")] = "fedavg"
    quorum: Annotated[
        float, Meta(gt=0.0, le=1_000_000.0, description="devices a round needs: a share up to 1, or a count above 1")
    ] = 0.5
    deadline: Annotated[float, Meta(gt=0.0, le=604_800.0, description="seconds until a round closes")] = 60.0
    attempts: Annotated[int, Meta(ge=1, le=1000, description="tries of a round before the run fails")] = 2
    pace: Annotated[float, Meta(ge=0.0, le=604_800.0, description="least seconds from one round to the next")] = 0.0
    late: Annotated[
        Literal["drop", "next-round"],
        Meta(description="an update after the deadline: dropped, or used one round later"),
    ] = "drop"
    devices: Annotated[int, Meta(ge=1, le=1_000_000, description="devices to wait for before the first round")] = 1
    wait: Annotated[float, Meta(gt=0.0, le=604_800.0, description="seconds to wait for devices")] = 60.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of everything random in the run")] = 1

    def needed(self, members: int) -> int:
        """How many of `members` devices a round needs: `quorum` up to 1 is a share (rounded up), above it a count."""
        if self.quorum > 1.0:
            return int(self.quorum)
        # 1e-9 keeps 0.8 * 10 = 8.000000000000002 from needing nine.
        return max(1, math.ceil(self.quorum * members - 1e-9))


#: Short spellings that the command language accepts beside the full names.
ALIASES: Final[Mapping[str, str]] = {
    "epochs": "local_epochs",
    "batch": "batch_size",
    "lr": "learning_rate",
    "local-epochs": "local_epochs",
    "batch-size": "batch_size",
    "learning-rate": "learning_rate",
}

_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def setting_names() -> tuple[str, ...]:
    """Names of all settings, in the order of their declaration."""
    return tuple(field.name for field in msgspec.structs.fields(RunSettings))


def parse_settings(values: Mapping[str, str], base: RunSettings | None = None) -> RunSettings:
    """`base` with `key=value` texts laid over it.

    Durations may carry a unit (`30s`, `2min`); `quorum` may be a percentage. Raises UsageError naming the key, what it
    accepts, and the nearest known key for an unknown one.
    """
    merged: dict[str, object] = msgspec.to_builtins(base or RunSettings())
    for given, text in values.items():
        key = ALIASES.get(given, given)
        if key not in merged:
            raise UsageError(f"There is no setting '{given}'. {nearest(given, [*setting_names(), 'epochs'])}")
        merged[key] = _plain(key, text)
    try:
        return msgspec.convert(merged, RunSettings, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        shown = f"'{key}={values.get(key, merged.get(key))}' cannot be used" if key else "The settings cannot be used"
        raise UsageError(f"{shown}: {message[:1].lower()}{message[1:]}. See: help run start") from None


def _plain(key: str, text: str) -> str:
    """The value without its unit, where the key has one."""
    if key in {"deadline", "wait", "pace"}:
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = text[len(number) :]
        if unit in _UNITS and _is_number(number):
            return str(float(number) * _UNITS[unit])
    if key == "quorum" and text.endswith("%") and _is_number(text[:-1]):
        return str(float(text[:-1]) / 100)
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
