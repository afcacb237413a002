"""A shard: what its digest covers, and what a limit leaves alone."""

import dataclasses
import hashlib

import numpy as np
import pytest

from kehefl.data.shard import Shard, shard_in_time
from kehefl.errors import UsageError


def shard_of(count: int) -> Shard:
    rows = np.column_stack([np.arange(count), np.arange(count) * 10]).astype(np.float32)
    return shard_in_time(rows, name="a", source="csv", simulated=False, features=("x",), target="y")


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (3, 1), (9, 1), (10, 2), (100, 20)])
def test_the_last_fifth_in_time_is_held_out_and_one_row_at_least(count: int, held_out: int) -> None:
    shard = shard_of(count)
    assert shard.y_test.tolist() == [10.0 * index for index in range(count - held_out, count)]
    assert shard.x_train[:, 0].tolist() == list(range(count - held_out))


def test_rows_are_contiguous_float32() -> None:
    shard = shard_of(10)
    for rows in (shard.x_train, shard.y_train, shard.x_test, shard.y_test):
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous


def test_a_limit_keeps_the_first_training_rows_and_all_that_is_held_out() -> None:
    limited = shard_of(10).limited(3)
    assert limited.y_train.tolist() == [0.0, 10.0, 20.0]
    assert limited.y_test.tolist() == [80.0, 90.0]


def test_a_limit_above_what_there_is_changes_nothing() -> None:
    assert shard_of(10).limited(1000).digest() == shard_of(10).digest()


@pytest.mark.parametrize("rows", [0, -1])
def test_a_limit_below_one_is_refused(rows: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        shard_of(10).limited(rows)


def test_the_digest_is_sha256_over_names_shapes_and_little_endian_bytes() -> None:
    expected = hashlib.sha256(b"x\0y")
    for shape, values in (("(1, 1)", [0]), ("(1,)", [0]), ("(1, 1)", [1]), ("(1,)", [10])):
        expected.update(shape.encode() + np.array(values, "<f4").tobytes())
    assert shard_of(2).digest() == expected.hexdigest()


def test_the_digest_tells_rows_names_and_the_split_apart_but_not_notes() -> None:
    shard = shard_of(10)
    others = [
        dataclasses.replace(shard, features=("z",)),
        dataclasses.replace(shard, x_train=shard.x_train + 1),
        shard.limited(4),
    ]
    assert len({shard.digest(), *(other.digest() for other in others)}) == 4
    assert dataclasses.replace(shard, notes=("1 row skipped",)).digest() == shard.digest()
