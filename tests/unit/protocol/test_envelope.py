"""The envelope: what was encoded comes back; whatever was altered is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kehefl.errors import ProtocolError
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import DeviceStatus, Manifest, Reply, Request, Telemetry, Update

STATUS = DeviceStatus(device="pi-03", boot="b1", state="ready", features=("co2",), target="temperature", rows_train=7)


def test_a_message_and_its_body_come_back() -> None:
    message, body = decode(encode(STATUS, b"\x01\x02"), DeviceStatus)
    assert message == STATUS
    assert bytes(body) == b"\x01\x02"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "empty"),
        (b"hello", "not a kehefl envelope"),
        (b"KEHE", "not a kehefl envelope"),
        (b"x" * 100, "not a kehefl envelope"),
        (encode(STATUS)[:-1], "torn"),
        (encode(STATUS).replace(b"pi-03", b"pi-04"), "altered"),
        (b"KEHE\x02" + encode(STATUS)[5:], "version 2"),
    ],
)
def test_what_is_not_a_valid_envelope_is_refused_with_a_reason(payload: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        decode(payload, DeviceStatus)


def test_a_message_of_another_type_is_refused() -> None:
    with pytest.raises(ProtocolError, match="does not belong on this topic"):
        decode(encode(STATUS), Telemetry)


@pytest.mark.parametrize("device", ["", "PI", "a/b", "a+", "x" * 65])
def test_a_header_that_breaks_its_type_is_refused(device: str) -> None:
    with pytest.raises(ProtocolError, match="not valid"):
        decode(encode(DeviceStatus(device=device, boot="b", state="ready")), DeviceStatus)


@given(st.binary(max_size=300))
def test_random_bytes_never_do_anything_but_be_refused(payload: bytes) -> None:
    for kind in (DeviceStatus, Manifest, Update, Reply, Request):
        with pytest.raises(ProtocolError):
            decode(payload, kind)


@given(st.data())
def test_every_single_altered_byte_of_an_envelope_is_noticed(data: st.DataObject) -> None:
    payload = bytearray(encode(STATUS))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        decode(bytes(payload), DeviceStatus)
