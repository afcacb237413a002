"""Federated standardisation: sums of parts give the figures of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import ProtocolError
from kehefl.federation.evaluation import metrics_of, pool, regression_sums, valid_sums
from kehefl.federation.statistics import plausible, standardisation_of, standardise, sums_of


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(400, 50, (n, 2)).astype(np.float32), rng.normal(20, 3, n).astype(np.float32)


def test_standardisation_from_three_devices_is_that_of_the_pooled_rows() -> None:
    parts = {f"d{n}": rows(n, 10 * n) for n in (1, 2, 3)}
    reference = standardisation_of({device: sums_of(x, y) for device, (x, y) in parts.items()})
    x = np.vstack([part[0] for part in parts.values()]).astype(np.float64)
    y = np.concatenate([part[1] for part in parts.values()]).astype(np.float64)
    np.testing.assert_allclose(reference.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(reference.scale, x.std(axis=0), rtol=1e-9)
    assert reference.target_mean == pytest.approx(y.mean())
    assert reference.target_scale == pytest.approx(y.std())
    z = standardise(x.astype(np.float32), reference)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-5)


def test_a_constant_column_keeps_its_scale() -> None:
    x, y = np.full((5, 1), 0.1, np.float32), np.arange(5, dtype=np.float32)
    assert standardisation_of({"a": sums_of(x, y)}).scale == (1.0,)


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(ProtocolError, match="no training rows"):
        standardisation_of({"a": sums_of(np.zeros((0, 1), np.float32), np.zeros(0, np.float32))})


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_sums_of_real_rows_are_plausible(n: int, seed: int) -> None:
    assert plausible(sums_of(*rows(seed, n)))


@pytest.mark.parametrize("sums", [[0, 0, 0, 0, 0], [1.5, 1, 1, 1, 1], [2, 10, 10, 1, 1], [-3, 0, 0, 0, 0]])
def test_sums_that_no_rows_could_have_are_not(sums: list[float]) -> None:
    assert not plausible(np.array(sums, float))


def test_pooled_metrics_are_those_of_all_rows_together() -> None:
    y1, p1 = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0])
    y2, p2 = np.array([10.0]), np.array([11.0])
    metrics = metrics_of(pool([regression_sums(y1, p1), regression_sums(y2, p2)]))
    assert metrics["test_mae"] == pytest.approx(3 / 4)
    assert metrics["test_rmse"] == pytest.approx((5 / 4) ** 0.5)
    # Mean 4, total sum of squares 9 + 4 + 1 + 36 = 50.
    assert metrics["test_r2"] == pytest.approx(1 - 5 / 50)


def test_r2_is_left_out_where_the_target_is_constant() -> None:
    assert set(metrics_of(regression_sums(np.ones(3), np.ones(3)))) == {"test_rmse", "test_mae"}


@pytest.mark.parametrize(
    "sums", [{}, {"n": 1.0}, {"n": 2.0, "sse": 0, "sae": 0, "sum_y": 1e99, "sum_yy": 1.0}, {"n": 1.0, "sse": 1e300, "sae": 0, "sum_y": 0, "sum_yy": 0}, {"n": -1.0, "sse": 0, "sae": 0, "sum_y": 0, "sum_yy": 0}, {"n": float("nan"), "sse": 0, "sae": 0, "sum_y": 0, "sum_yy": 0}]
)  # fmt: skip
def test_sums_that_cannot_come_from_an_evaluation_are_invalid(sums: dict[str, float]) -> None:
    assert not valid_sums(sums)
