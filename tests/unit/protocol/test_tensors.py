"""Tensors on the wire: any order of parts gives the same bytes; what does not belong is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import TensorSpec
from kehefl.protocol.tensors import Assembly, flatten, read_sums, read_vector, specs_of, split, unflatten


def test_named_tensors_survive_flattening() -> None:
    parameters = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([7], np.float32)}
    again = unflatten(flatten(parameters), specs_of(parameters))
    assert list(again) == ["w", "b"]
    assert np.array_equal(again["w"], parameters["w"])
    assert np.array_equal(again["b"], parameters["b"])


@given(st.integers(1, 5000), st.integers(100, 3000), st.randoms())
def test_parts_in_any_order_and_repeated_make_the_whole(size: int, part_bytes: int, random: object) -> None:
    body = memoryview(np.arange(size, dtype="<f4")).cast("B")
    specs = (TensorSpec("w", "f4", (size,)),)
    payloads = split(body, specs, part_bytes)
    step = len(body) if len(payloads) == 1 else part_bytes
    order = [*payloads, payloads[0]]
    random.shuffle(order)  # type: ignore[attr-defined]
    assembly = Assembly(payloads[0], specs)
    for payload in order:
        assembly.add(payload, body[payload.part * step : (payload.part + 1) * step])
    assert assembly.complete
    assert not assembly.missing()
    assert bytes(assembly.body()) == bytes(body)


def test_the_parts_that_lack_are_named() -> None:
    body = memoryview(bytes(4000))
    specs = (TensorSpec("w", "f4", (1000,)),)
    payloads = split(body, specs, 1000)
    assembly = Assembly(payloads[0], specs)
    assembly.add(payloads[2], body[2000:3000])
    assert assembly.missing() == (0, 1, 3)


def _one(size: int = 4) -> tuple[memoryview, tuple[TensorSpec, ...]]:
    return memoryview(np.arange(size, dtype="<f4")).cast("B"), (TensorSpec("w", "f4", (size,)),)


def test_a_wrong_shape_is_refused_before_anything_is_stored() -> None:
    body, specs = _one()
    with pytest.raises(ProtocolError, match=r"got w\[4\]:f4, expected w\[5\]:f4"):
        Assembly(split(body, specs)[0], (TensorSpec("w", "f4", (5,)),))


def test_a_wrong_digest_is_refused() -> None:
    body, specs = _one()
    payload = split(body, specs)[0]
    with pytest.raises(ProtocolError, match="does not match its digest"):
        Assembly(payload, specs).add(payload, memoryview(bytes(16)))


def test_a_body_of_another_length_is_refused() -> None:
    body, specs = _one()
    payload = split(body, specs)[0]
    with pytest.raises(ProtocolError, match="does not fit"):
        Assembly(payload, specs).add(payload, body[:-4])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    vector = np.array([1, bad, 2], "<f4")
    with pytest.raises(ProtocolError, match="NaN or infinity"):
        read_vector(memoryview(vector).cast("B"), (TensorSpec("w", "f4", (3,)),))
    with pytest.raises(ProtocolError, match="NaN or infinity"):
        read_sums(memoryview(vector.astype("<f8")).cast("B"))


def test_large_finite_values_are_not_mistaken_for_infinity() -> None:
    vector = np.full(4, np.finfo(np.float64).max, "<f8")
    assert np.array_equal(read_sums(memoryview(vector).cast("B")), vector)
