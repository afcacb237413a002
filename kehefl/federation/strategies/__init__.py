"""Aggregation rules, one file each."""

from __future__ import annotations

from kehefl.errors import UsageError, nearest
from kehefl.federation.strategies.base import Strategy, Vector
from kehefl.federation.strategies.fedavg import FedAvg
from kehefl.federation.strategies.median import Median
from kehefl.federation.strategies.trimmed_mean import TrimmedMean

__all__ = ["FedAvg", "Median", "Strategy", "TrimmedMean", "Vector", "load_strategy", "strategy_names"]

_BUILTIN: tuple[type[Strategy], ...] = (FedAvg, Median, TrimmedMean)


def strategy_names() -> tuple[str, ...]:
    """Names that `strategy=` accepts."""
    return tuple(strategy.name for strategy in _BUILTIN)


def load_strategy(name: str) -> Strategy:
    """The strategy of that name with its default settings; UsageError names the nearest."""
    for strategy in _BUILTIN:
        if strategy.name == name:
            return strategy()
    raise UsageError(f"There is no strategy '{name}'. {nearest(name, strategy_names())}")
