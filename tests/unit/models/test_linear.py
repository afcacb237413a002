"""The linear model against least squares in closed form, and the promises that every model gives."""

import warnings

import numpy as np
import pytest

from kehefl.models.base import Array, Parameters, Trained, TrainingCancelled
from kehefl.models.linear import REPORT_EVERY_BATCHES, Linear


def rows(count: int, seed: int = 1) -> tuple[Array, Array]:
    """Standardised rows of `y = 2 a - b + 0.5` and a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    y = x @ [2.0, -1.0] + 0.5 + rng.normal(0, 0.1, count)
    return x.astype(np.float32), y.astype(np.float32)


def trained(x: Array, y: Array, *, start: Parameters | None = None, **settings: float) -> Trained:
    model = Linear()
    return model.train(
        start or model.initialise(x.shape[1], np.random.default_rng(0)),
        x,
        y,
        epochs=int(settings.get("epochs", 1)),
        batch_size=int(settings.get("batch_size", 8)),
        learning_rate=settings.get("learning_rate", 0.1),
        rng=np.random.default_rng(int(settings.get("seed", 0))),
        report=lambda *_: None,
    )


def test_one_step_is_that_of_the_formula() -> None:
    # From zero e = -y = (-1, -3); the weight gains 0.1 * (1*1 + 3*2) / 2, the bias 0.1 * (1 + 3) / 2.
    x, y = np.array([[1.0], [2.0]], np.float32), np.array([1.0, 3.0], np.float32)
    parameters, loss = trained(x, y, batch_size=2)
    assert parameters["weight"].tolist() == pytest.approx([0.35])
    assert parameters["bias"].tolist() == pytest.approx([0.2])
    # Half the mean of the squared errors, before the step.
    assert loss == pytest.approx((1 + 9) / 2 / 2)


def test_many_full_batches_come_to_least_squares() -> None:
    x, y = rows(200)
    weights = np.linalg.lstsq(np.column_stack([x, np.ones(200)]).astype(np.float64), y, rcond=None)[0]
    parameters, _ = trained(x, y, epochs=300, batch_size=200, learning_rate=0.2)
    assert [*parameters["weight"], *parameters["bias"]] == pytest.approx(weights, abs=1e-3)


def test_the_loss_of_more_epochs_is_less() -> None:
    x, y = rows(200)
    losses = [trained(x, y, epochs=epochs, learning_rate=0.02).loss for epochs in (1, 2, 5)]
    assert losses == sorted(losses, reverse=True)


def test_what_it_was_given_is_not_changed() -> None:
    x, y = rows(20)
    start = {"weight": np.array([1.0, 2.0], np.float32), "bias": np.array([3.0], np.float32)}
    for given in (x, y, *start.values()):
        given.flags.writeable = False
    parameters = trained(x, y, start=start).parameters
    assert parameters["weight"].tolist() != [1.0, 2.0]
    assert parameters["bias"].tolist() != [3.0]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    x, y = rows(100)
    first, again, other = (trained(x, y, epochs=2, seed=seed).parameters["weight"].tobytes() for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_a_batch_larger_than_the_rows_is_all_of_them() -> None:
    x, y = rows(10)
    whole, more = (trained(x, y, batch_size=size).parameters["weight"] for size in (10, 10_000))
    assert whole.tolist() == more.tolist()


def test_the_last_batch_may_be_smaller_and_is_averaged_over_its_own_rows() -> None:
    # Three equal rows in batches of two: the second step is as long as one of a single row.
    x, y = np.ones((3, 1), np.float32), np.ones(3, np.float32)
    # e = -1, then -0.8: the bias goes to 0.1 and 0.18.
    assert trained(x, y, batch_size=2).parameters["bias"].tolist() == pytest.approx([0.18])


def test_one_row_is_enough() -> None:
    parameters, loss = trained(np.array([[2.0]], np.float32), np.array([1.0], np.float32))
    assert (parameters["weight"].tolist(), parameters["bias"].tolist()) == (pytest.approx([0.2]), pytest.approx([0.1]))
    assert loss == 0.5


def test_progress_is_reported_now_and_then_and_at_the_end() -> None:
    x, y = rows(2 * REPORT_EVERY_BATCHES + 1)
    told: list[tuple[int, int]] = []
    model = Linear()
    model.train(
        model.initialise(2, np.random.default_rng(0)),
        x,
        y,
        epochs=1,
        batch_size=1,
        learning_rate=0.01,
        rng=np.random.default_rng(0),
        report=lambda done, total, loss: told.append((done, total)),
    )
    total = len(y)
    assert told == [(REPORT_EVERY_BATCHES, total), (2 * REPORT_EVERY_BATCHES, total), (total, total)]


def test_training_ends_at_the_report_that_cancels_it() -> None:
    x, y = rows(1000)
    calls: list[int] = []

    def cancel(done: int, total: int, loss: float) -> None:
        calls.append(done)
        raise TrainingCancelled

    model = Linear()
    with pytest.raises(TrainingCancelled):
        model.train(
            model.initialise(2, np.random.default_rng(0)),
            x,
            y,
            epochs=1000,
            batch_size=1,
            learning_rate=0.01,
            rng=np.random.default_rng(0),
            report=cancel,
        )
    assert calls == [REPORT_EVERY_BATCHES]


def test_training_that_diverges_says_so_by_its_parameters_not_by_warnings() -> None:
    # A warning would be written across the console's screen; whoever trains checks that parameters are finite.
    x, y = rows(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parameters, loss = trained(x, y, epochs=200, learning_rate=50.0)
    assert not np.isfinite(parameters["weight"]).all()
    assert not np.isfinite(loss)


def test_predictions_are_float32_one_for_each_row() -> None:
    parameters = {"weight": np.array([2.0, 1.0], np.float32), "bias": np.array([0.5], np.float32)}
    predicted = Linear().predict(parameters, np.array([[1.0, 1.0], [0.0, -1.0]], np.float32))
    assert predicted.dtype == np.float32
    assert predicted.tolist() == [3.5, -0.5]
