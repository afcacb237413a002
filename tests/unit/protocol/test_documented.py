"""docs/protocol.md and the code say the same; a decoder written from the page alone reads what kehefl encodes."""

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kehefl.federation.evaluation import REGRESSION_SUMS
from kehefl.federation.statistics import sums_spec
from kehefl.protocol import messages
from kehefl.protocol.envelope import MAX_HEADER_BYTES, decode, encode
from kehefl.protocol.messages import CODES, DeviceStatus, Manifest, Message, Payload, TensorSpec, Update
from kehefl.protocol.tensors import INLINE_BYTES, PART_BYTES, SINGLE_PART_BYTES, flatten, specs_of, split
from kehefl.protocol.topics import PROTOCOL_VERSION, Topics

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text("utf-8")

STRUCTS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not Message
]
_CODE_OF = {kind: code for code, kind in CODES.items()}


def _title(kind: type[msgspec.Struct]) -> str:
    return f"{_CODE_OF[kind]} {kind.__name__}" if kind in _CODE_OF else f"Nested: {kind.__name__}"


def _section(title: str) -> str:
    """The text below the third-level heading `title`, up to the next heading."""
    match = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, f"The page has no heading '### {title}'."
    return match[1]


def _rows(text: str) -> list[list[str]]:
    """Cells of the table rows whose first cell is code."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]


# Headers -------------------------------------------------------------------------------------------------------------


def test_the_page_documents_each_message_code_and_no_other() -> None:
    documented = {int(code): name for code, name in re.findall(r"^### (\d+) (\w+)$", PAGE, re.MULTILINE)}
    assert documented == {code: kind.__name__ for code, kind in CODES.items()}
    assert set(re.findall(r"^### Nested: (\w+)$", PAGE, re.MULTILINE)) == {
        kind.__name__ for kind in STRUCTS if kind not in _CODE_OF
    }


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_the_page_documents_each_field_with_its_default(kind: type[msgspec.Struct]) -> None:
    documented = [(row[0].strip("`"), row[2]) for row in _rows(_section(_title(kind)))]
    assert documented == [(field.name, _default(field)) for field in msgspec.structs.fields(kind)]


def _default(field: Any) -> str:
    """The default of a field as the page writes it."""
    default = field.default
    if isinstance(default, msgspec.Struct):
        return "all default"
    if isinstance(default, str):
        return f'`"{default}"`'
    words = {msgspec.NODEFAULT: "required", None: "nil", (): "`[]`"}
    return words[default] if default in words else str(default).lower()


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_the_page_names_each_allowed_word_and_each_limit(kind: type[msgspec.Struct]) -> None:
    rows = {row[0].strip("`"): row for row in _rows(_section(_title(kind)))}
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        row = " ".join(rows[field.name])
        for word in getattr(field.type, "values", ()):
            assert f"`{word}`" in row
        for limit in (getattr(field.type, "le", None), getattr(field.type, "max_length", None)):
            assert limit is None or any(spelling in row for spelling in _spellings(limit)), (field.name, limit)


def _spellings(limit: int) -> list[str]:
    """How the page may write a limit, by itself or by the name of its type."""
    named = {2**53: "count", 32: "boot", 128: "name", 500: "text", 2**63 - 1: "2^63 - 1"}
    return [str(limit), f"{limit:,}", *([named[limit]] if limit in named else []), *(["digest"] if limit == 32 else [])]


# Topics and numbers ---------------------------------------------------------------------------------------------------


def test_the_page_documents_each_topic() -> None:
    topics = Topics("xfederation", "xprefix")
    built = [
        topics.device_status("xid"),
        topics.telemetry("xid"),
        topics.command("xid", "xverb"),
        topics.reply("xid", "xverb"),
        topics.upload("xid", "xrun", 7777, 8888),
        topics.round,
        topics.model("xdigest", 8888),
        topics.server_status,
        topics.control_request,
        topics.control_reply("xreply_to"),
    ]
    assert "`<prefix>/v1/<federation>/`" in PAGE
    shapes = [
        re.sub(r"\bx([a-z_]+)", r"<\1>", topic.replace("7777", "<round>").replace("8888", "<part>")) for topic in built
    ]
    base = "<prefix>/v1/<federation>/"
    documented = [row[0].strip("`") for row in _rows(PAGE[PAGE.index("## Topics") : PAGE.index("## Envelope")])]
    assert [base + topic for topic in documented] == shapes


@pytest.mark.parametrize("number", [MAX_HEADER_BYTES, INLINE_BYTES])
def test_the_page_states_the_limits_in_bytes(number: int) -> None:
    assert f"{number:,}" in PAGE


def test_the_page_states_the_sizes_of_parts() -> None:
    assert f"{SINGLE_PART_BYTES >> 20} MiB in one part, above it parts of {PART_BYTES >> 20} MiB" in PAGE


def test_the_page_documents_the_sums() -> None:
    assert {row[0].strip("`") for row in _rows(_section("Evaluation sums"))} == REGRESSION_SUMS
    (spec,) = sums_spec(3)
    assert f'`["{spec.name}", "{spec.dtype}", [1 + 2 * (F + 1)]]`' in PAGE
    assert spec.shape == (1 + 2 * (3 + 1),)


# The worked examples --------------------------------------------------------------------------------------------------


def _example() -> bytes:
    match = re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)
    assert match
    return bytes.fromhex(match[1])


def _example_header() -> dict[str, Any]:
    match = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert match
    header: dict[str, Any] = json.loads(match[1])
    return header


def test_the_worked_example_decodes_to_what_the_page_says() -> None:
    status, body = decode(_example(), DeviceStatus)
    assert status == msgspec.convert(_example_header(), DeviceStatus)
    assert not body
    assert encode(status) == _example()


def test_the_annotation_of_the_worked_example_covers_each_byte() -> None:
    section = _section("Worked example")
    rows = re.findall(r"^\| (\d+) \| ((?:`[0-9a-f ]+` ?)+)\|", section, re.MULTILINE)
    covered = b""
    for offset, cells in rows:
        assert int(offset) == len(covered)
        covered += bytes.fromhex(cells.replace("`", " "))
    assert covered == _example()


def test_the_example_of_digests_is_right() -> None:
    cells = dict(re.findall(r"^\| (body|part_digest|digest) \| `([0-9a-f]+)` \|$", PAGE, re.MULTILINE))
    parameters = {"weight": np.array([1, 2], np.float32), "bias": np.array([0.5], np.float32)}
    body = memoryview(flatten(parameters)).cast("B")
    (payload,) = split(body, specs_of(parameters))
    assert cells == {"body": body.hex(), "part_digest": payload.part_digest.hex(), "digest": payload.digest.hex()}


# A decoder from the page alone ----------------------------------------------------------------------------------------


def _read(data: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Type code, header and body of an envelope. Uses nothing of kehefl."""
    magic, version, code, zero, length = struct.unpack_from("<4sBBHI", data)
    assert (magic, version, zero) == (b"KEHE", 1, 0)
    assert length <= 1_048_576
    header = data[28 : 28 + length]
    assert hashlib.blake2s(data[:12] + header, digest_size=16).digest() == data[12:28]
    return code, msgspec.msgpack.decode(header), data[28 + length :]


def _tensors(messages_: list[bytes]) -> dict[str, tuple[list[int], list[float]]]:
    """Shape and numbers of each tensor, from the messages that carry its parts. Uses nothing of kehefl."""
    pieces: dict[int, bytes] = {}
    payload: dict[str, Any] = {}
    for data in messages_:
        _, header, body = _read(data)
        payload = header["payload"]
        assert hashlib.sha256(body).digest() == payload["part_digest"]
        pieces[payload.get("part", 0)] = body
    assert sorted(pieces) == list(range(payload.get("parts", 1)))
    joined = b"".join(hashlib.sha256(pieces[part]).digest() for part in sorted(pieces))
    assert hashlib.sha256(joined).digest() == payload["digest"]
    whole = b"".join(pieces[part] for part in sorted(pieces))
    assert len(whole) == payload["total_bytes"]
    tensors: dict[str, tuple[list[int], list[float]]] = {}
    start = 0
    for name, dtype, shape in payload["tensors"]:
        count = 1
        for extent in shape:
            count *= extent
        numbers = struct.unpack_from(f"<{count}{'f' if dtype == 'f4' else 'd'}", whole, start)
        start += struct.calcsize(f"<{count}{'f' if dtype == 'f4' else 'd'}")
        tensors[name] = (shape, list(numbers))
    assert start == len(whole)
    return tensors


def _update(payload: Payload | None = None) -> Update:
    return Update(
        run="r-1", round=2, attempt=1, task="train", device="pi-1", boot="7f3a", weight=9, loss=0.25, payload=payload
    )


def test_the_decoder_reads_the_worked_example() -> None:
    assert _read(_example()) == (1, _example_header(), b"")


@pytest.mark.parametrize("part_bytes", [8, 12, 1 << 20])
def test_the_decoder_reads_an_update_in_one_part_or_several(part_bytes: int) -> None:
    parameters = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.array([-0.5], np.float32)}
    body = memoryview(flatten(parameters)).cast("B")
    payloads = split(body, specs_of(parameters), part_bytes)
    step = len(body) if len(payloads) == 1 else part_bytes
    sent = [encode(_update(payload), body[payload.part * step :][:step]) for payload in reversed(payloads)]
    code, header, _ = _read(sent[0])
    assert code == 5
    plain = {key: value for key, value in header.items() if key != "payload"}
    assert plain == {
        "run": "r-1",
        "round": 2,
        "attempt": 1,
        "task": "train",
        "device": "pi-1",
        "boot": "7f3a",
        "weight": 9,
        "loss": 0.25,
    }
    assert _tensors(sent) == {"weight": ([2, 3], [0, 1, 2, 3, 4, 5]), "bias": ([1], [-0.5])}


def test_the_decoder_reads_a_manifest() -> None:
    manifest = Manifest(
        run="r-1", round=0, attempt=1, task="statistics", state="open", server="b", cohort=("pi-1",), deadline_s=60.0
    )
    assert _read(encode(manifest)) == (
        3,
        {
            "run": "r-1",
            "round": 0,
            "attempt": 1,
            "task": "statistics",
            "state": "open",
            "server": "b",
            "cohort": ["pi-1"],
            "deadline_s": 60.0,
        },
        b"",
    )


def _write(code: int, header: dict[str, Any], body: bytes = b"") -> bytes:
    """An envelope, with nothing of kehefl."""
    packed = msgspec.msgpack.encode(header)
    start = struct.pack("<4sBBHI", b"KEHE", 1, code, 0, len(packed))
    return start + hashlib.blake2s(start + packed, digest_size=16).digest() + packed + body


def test_kehefl_reads_what_another_client_writes() -> None:
    body = struct.pack("<3f", 1, 2, 0.5)
    part_digest = hashlib.sha256(body).digest()
    payload = {
        "tensors": [["weight", "f4", [2]], ["bias", "f4", [1]]],
        "total_bytes": 12,
        "digest": hashlib.sha256(part_digest).digest(),
        "part_digest": part_digest,
    }
    header = {"device": "pi-1", "boot": "7f3a", "run": "r-1", "round": 2, "attempt": 1, "task": "train", "weight": 9}
    update, received = decode(_write(5, {**header, "payload": payload, "loss": 1}, body), Update)
    assert update.payload is not None
    assert update.payload.tensors == (TensorSpec("weight", "f4", (2,)), TensorSpec("bias", "f4", (1,)))
    assert (update.loss, update.train_s, bytes(received)) == (1.0, 0.0, body)


def test_the_version_of_the_page_is_that_of_the_code() -> None:
    assert PAGE.startswith(f"# Wire protocol, version {PROTOCOL_VERSION}\n")
