"""Federated standardisation: from sums that devices report, without a row leaving any of them.

A device sends, in float64: the number of rows, the sum of each column, the sum of squares of each column; columns are
the features in order, then the target. Length `1 + 2 * (features + 1)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import Standardisation, TensorSpec

Sums = NDArray[np.float64]

#: A column whose variance is below this share of its squared mean is constant up to rounding.
_CONSTANT = 1e-12


def sums_spec(features: int) -> tuple[TensorSpec, ...]:
    """The tensor that carries the sums of `features` features and the target."""
    return (TensorSpec("sums", "f8", (1 + 2 * (features + 1),)),)


def sums_of(x: NDArray[Any], y: NDArray[Any]) -> Sums:
    """The sums of rows `x` [n, f] and targets `y` [n]."""
    columns = np.column_stack([x, y]).astype(np.float64)
    return np.concatenate([[len(y)], columns.sum(axis=0), np.square(columns).sum(axis=0)])


def standardisation_of(sums: Mapping[str, Sums]) -> Standardisation:
    """Mean and population standard deviation over all devices; a constant column keeps its values (scale 1).

    Folded in device order, so that the result does not depend on who answered first. ProtocolError when the sums
    cannot come from rows.
    """
    total = np.sum([sums[device] for device in sorted(sums)], axis=0)
    rows = float(total[0])
    if rows < 1:
        raise ProtocolError("The devices report no training rows. Give each device at least one row.")
    columns = (len(total) - 1) // 2
    mean = total[1 : 1 + columns] / rows
    variance = total[1 + columns :] / rows - np.square(mean)
    constant = variance <= _CONSTANT * np.square(mean)
    scale = np.sqrt(np.where(constant, 1.0, variance))
    return Standardisation(
        mean=tuple(mean[:-1].tolist()),
        scale=tuple(scale[:-1].tolist()),
        target_mean=float(mean[-1]),
        target_scale=float(scale[-1]),
    )


def plausible(sums: Sums) -> bool:
    """Whether sums can come from real rows: a whole number of rows, and no sum of squares below its least possible."""
    rows = float(sums[0])
    if rows < 1 or rows != int(rows):
        return False
    columns = (len(sums) - 1) // 2
    total, squares = sums[1 : 1 + columns], sums[1 + columns :]
    return bool((squares >= np.square(total) / rows * (1 - 1e-6) - 1e-9).all())


def standardise(x: NDArray[np.float32], reference: Standardisation) -> NDArray[np.float32]:
    """`(x - mean) / scale`, computed in float64, returned as float32 [n, f]."""
    z = (x.astype(np.float64) - np.array(reference.mean)) / np.array(reference.scale)
    return np.ascontiguousarray(z, dtype=np.float32)


def standardise_target(y: NDArray[np.float32], reference: Standardisation) -> NDArray[np.float32]:
    """The target likewise, float32 [n]."""
    return ((y.astype(np.float64) - reference.target_mean) / reference.target_scale).astype(np.float32)
