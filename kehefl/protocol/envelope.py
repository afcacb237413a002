"""The envelope: magic, version, type, header, then raw tensor bytes.

offset  bytes  what
0       4      magic b"KEHE"
4       1      protocol version
5       1      message type
6       2      zero
8       4      header length, little-endian
12      16     BLAKE2s-128 over bytes 0..11 and the header
28      n      header, MessagePack map
28+n    m      tensor bytes; their SHA-256 stands in the header
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, TypeVar, cast

import msgspec

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import CODES, Message
from kehefl.protocol.topics import PROTOCOL_VERSION

MAGIC: Final = b"KEHE"
MAX_HEADER_BYTES: Final = 1 << 20
_PREAMBLE = struct.Struct("<4sBBHI")
_CHECK_BYTES = 16
_START = _PREAMBLE.size + _CHECK_BYTES

M = TypeVar("M", bound=Message)

_CODE_OF = {kind: code for code, kind in CODES.items()}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {code: msgspec.msgpack.Decoder(kind, strict=True) for code, kind in CODES.items()}


def encode(message: Message, body: bytes | memoryview = b"") -> bytes:
    """One payload for MQTT: the envelope around `message`, followed by `body` (tensor bytes).

    Raises ProtocolError when the header is longer than a receiver would take (a cohort of more than 60,000 devices).
    """
    header = _ENCODER.encode(message)
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(f"The header of the {type(message).__name__} is too long ({len(header)} bytes).")
    preamble = _PREAMBLE.pack(MAGIC, PROTOCOL_VERSION, _CODE_OF[type(message)], 0, len(header))
    check = hashlib.blake2s(preamble + header, digest_size=_CHECK_BYTES).digest()
    return b"".join((preamble, check, header, body))


def decode(payload: bytes | memoryview, kind: type[M]) -> tuple[M, memoryview]:
    """The header, which must be a `kind`, and a view of the tensor bytes.

    Raises ProtocolError naming what is wrong: empty, no envelope, another version, another type, torn, altered, or
    a header that breaks its type.
    """
    view = memoryview(payload)
    if not view:
        raise ProtocolError("The payload is empty.")
    if len(view) < _START or bytes(view[:4]) != MAGIC:
        raise ProtocolError("The payload is not a kehefl envelope.")
    _, version, code, zero, header_bytes = _PREAMBLE.unpack_from(view)
    if version != PROTOCOL_VERSION:
        raise ProtocolError(
            f"The message speaks protocol version {version}, this side {PROTOCOL_VERSION}: "
            "install the same kehefl version on both."
        )
    expected = _CODE_OF[kind]
    if code != expected or zero:
        raise ProtocolError(f"Message type {code} does not belong on this topic (expected {expected}).")
    if header_bytes > MAX_HEADER_BYTES or _START + header_bytes > len(view):
        raise ProtocolError("The message is torn: its header is longer than the payload.")
    header = view[_START : _START + header_bytes]
    check = hashlib.blake2s(view[: _PREAMBLE.size], digest_size=_CHECK_BYTES)
    check.update(header)
    if check.digest() != view[_PREAMBLE.size : _START]:
        raise ProtocolError("The message was altered on its way: its header does not match its check sum.")
    try:
        message = _DECODERS[code].decode(header)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The header of the {kind.__name__} is not valid: {error}.") from None
    return cast(M, message), view[_START + header_bytes :]
