"""Evaluation from additive sums: each device reports sums over its held-out rows, so that pooled figures are exact.

For a regression the sums are `n`, `sse` (squared errors), `sae` (absolute errors), `sum_y`, `sum_yy`, in the target's
unit. RMSE = sqrt(sse / n), MAE = sae / n, R2 = 1 - sse / (sum_yy - sum_y^2 / n).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Sums = Mapping[str, float]

#: Its square, times any number of devices, is still a finite float64.
LARGEST_SUM: Final = 1e100

REGRESSION_SUMS: Final = frozenset({"n", "sse", "sae", "sum_y", "sum_yy"})


def regression_sums(y: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """The sums for targets `y` [n] and predictions [n], both in the target's unit."""
    truth = y.astype(np.float64)
    error = predicted.astype(np.float64) - truth
    return {
        "n": float(len(truth)),
        "sse": float(error @ error),
        "sae": float(np.abs(error).sum()),
        "sum_y": float(truth.sum()),
        "sum_yy": float(truth @ truth),
    }


def valid_sums(sums: Sums) -> bool:
    """Whether reported sums can come from an evaluation: the right keys, a whole number of rows, no impossible sum."""
    if frozenset(sums) != REGRESSION_SUMS or not all(abs(value) <= LARGEST_SUM for value in sums.values()):
        return False
    rows = sums["n"]
    if rows < 0 or rows != int(rows) or sums["sse"] < 0 or sums["sae"] < 0 or sums["sum_yy"] < 0:
        return False
    # Cauchy-Schwarz, with room for rounding: no rows have a larger sum.
    return sums["sum_y"] ** 2 <= rows * sums["sum_yy"] * (1 + 1e-6) + 1e-9


def pool(parts: Iterable[Sums]) -> dict[str, float]:
    """Sums over several devices. `math.fsum` rounds once, so the order of the devices does not show."""
    gathered = list(parts)
    return {key: math.fsum(part[key] for part in gathered) for key in REGRESSION_SUMS}


def metrics_of(sums: Sums) -> dict[str, float]:
    """`test_rmse`, `test_mae`, `test_r2`; empty without rows. R2 is left out where the target is constant."""
    rows = sums["n"]
    if rows < 1:
        return {}
    metrics = {"test_rmse": math.sqrt(sums["sse"] / rows), "test_mae": sums["sae"] / rows}
    spread = sums["sum_yy"] - sums["sum_y"] ** 2 / rows
    if spread > 1e-12 * max(1.0, sums["sum_yy"]):
        metrics["test_r2"] = 1.0 - sums["sse"] / spread
    return metrics
