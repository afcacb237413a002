"""Aggregation rules, with figures that can be recomputed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import UsageError
from kehefl.federation.fold import Fold
from kehefl.federation.strategies import TrimmedMean, load_strategy, strategy_names


def fold(name: str, updates: dict[str, tuple[list[float], float]], buffer_bytes: int = 1 << 20) -> np.ndarray:
    size = len(next(iter(updates.values()))[0])
    folding = Fold(load_strategy(name), size, buffer_bytes)
    for device, (values, weight) in updates.items():
        folding.add(device, np.array(values, np.float32), weight)
    return folding.result()


@pytest.mark.parametrize("name", strategy_names())
@given(st.lists(st.floats(0.001, 1e9), min_size=1, max_size=30), st.integers(-(2**100), 2**100).map(float))
def test_when_all_devices_send_the_same_the_result_is_exactly_that(name: str, weights: list[float], x: float) -> None:
    for value in (1.0, x):
        updates = {f"d{index}": ([value, -value], weight) for index, weight in enumerate(weights)}
        result = fold(name, updates)
        if name == "fedavg" and value != 1.0:
            # Weighted sums of any float32 are rounded once in float64, far below a float32's last place.
            np.testing.assert_allclose(result, np.array([value, -value], np.float32), rtol=1e-7)
        else:
            assert result.tolist() == np.array([value, -value], np.float32).tolist()


def test_fedavg_weighs_by_rows() -> None:
    # (1 * 100 + 4 * 300) / 400 = 3.25
    assert fold("fedavg", {"a": ([1.0], 100), "b": ([4.0], 300)}).tolist() == [3.25]


def test_median_takes_the_middle_of_each_parameter() -> None:
    updates = {"a": ([1.0, 9.0], 1), "b": ([2.0, 8.0], 1), "c": ([1e9, -1e9], 1e6)}
    assert fold("median", updates).tolist() == [2.0, 8.0]


def test_trimmed_mean_cuts_at_both_ends() -> None:
    folding = Fold(TrimmedMean(beta=0.25), 1)
    for device, value in {"a": -1e6, "b": 1.0, "c": 2.0, "d": 1e6}.items():
        folding.add(device, np.array([value], np.float32), 1)
    assert folding.result().tolist() == [1.5]


def test_trimming_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="trims everything"):
        TrimmedMean(beta=0.5)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'median'"):
        load_strategy("medain")


@pytest.mark.parametrize("name", strategy_names())
@given(st.permutations(range(7)))
def test_the_order_of_arrival_does_not_change_a_bit(name: str, order: list[int]) -> None:
    rng = np.random.default_rng(3)
    values = [rng.normal(size=5).tolist() for _ in range(7)]
    expected = fold(name, {f"d{i}": (values[i], 10.0 + i) for i in range(7)})
    assert fold(name, {f"d{i}": (values[i], 10.0 + i) for i in order}).tobytes() == expected.tobytes()


def test_a_full_buffer_is_folded_in_arrival_order_and_says_so() -> None:
    folding = Fold(load_strategy("fedavg"), 4, buffer_bytes=20)
    for device in "cab":
        folding.add(device, np.ones(4, np.float32), 2.0)
    assert folding.result().tolist() == [1.0] * 4
    assert not folding.exact_order
