"""The typed headers of protocol v1. Each message is one frozen struct; tensors travel behind it as raw bytes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z")]
RunId = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z")]
Boot = Annotated[str, Meta(min_length=1, max_length=32)]
Text = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(max_length=128)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]

Task = Literal["statistics", "train", "evaluate"]
DeviceState = Literal["ready", "training", "uploading", "leaving", "lost"]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all headers: strict types, no unknown fields."""


class TensorSpec(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Name, dtype (`f4` or `f8`, little-endian) and shape of one tensor; bytes follow in the order of the specs."""

    name: Name
    dtype: Literal["f4", "f8"]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**31)], ...], Meta(max_length=8)]


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tensor bytes of a message are part of.

    `digest` is SHA-256 over the concatenated SHA-256 of all parts, so that every byte is hashed once and a receiver
    can tell which part is bad; `part_digest` is that of the part at hand.
    """

    tensors: tuple[TensorSpec, ...]
    total_bytes: Count
    digest: Digest
    part: Count = 0
    parts: Annotated[int, Meta(ge=1, le=100_000)] = 1
    part_digest: Digest


class Meter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device's process and link have used.

    `process` names the process (`host:pid`), so that the many devices of one process are not added up N times.
    Bytes are whole MQTT PUBLISH packets of this device's link, payload bytes beside them.
    """

    process: Name = ""
    cpu_s: float = 0.0
    peak_rss_mib: float = 0.0
    sent_bytes: Count = 0
    received_bytes: Count = 0
    sent_payload_bytes: Count = 0
    received_payload_bytes: Count = 0


class DeviceStatus(Message, frozen=True):
    """Birth of a device (retained); with `state` `lost` it is the will of the connection with the same boot id."""

    device: Id
    boot: Boot
    state: DeviceState
    reason: Text = ""
    software: Name = ""
    board: Name = ""
    process: Name = ""
    source: Name = ""
    simulated: bool = False
    features: tuple[Name, ...] = ()
    target: Name = ""
    rows_train: Count = 0
    rows_test: Count = 0
    data_digest: Name = ""
    models: tuple[Name, ...] = ()
    notes: tuple[Text, ...] = ()


class Telemetry(Message, frozen=True):
    """A device's own process, every few seconds; QoS 0, a lost one is not missed."""

    device: Id
    boot: Boot
    cpu_percent: float
    rss_mib: float
    meter: Meter
    temperature_c: float | None = None
    run: Name = ""
    round: Count = 0
    progress: float = 0.0
    loss: float | None = None


class Standardisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`z = (x - mean) / scale` per feature (float64); the target likewise."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    target_mean: float
    target_scale: float


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a device trains in one round."""

    model: Name
    epochs: Annotated[int, Meta(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000)]
    learning_rate: Annotated[float, Meta(gt=0.0)]
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Manifest(Message, frozen=True):
    """The order of the round (retained on `round`).

    `state` `open`: the cohort carries out `task`. `ended`: the run is over, nothing is asked of anyone.
    The global model follows as tensor bytes when it is small (`model.parts == 1` and `inline`), else on
    `model/<digest>/<part>`. `deadline_s` counts from the sending of this message: clocks of devices are not trusted.
    """

    run: RunId
    round: Count
    attempt: Annotated[int, Meta(ge=1, le=1000)]
    task: Task
    state: Literal["open", "ended"]
    server: Boot
    cohort: tuple[Id, ...] = ()
    carried: tuple[Id, ...] = ()
    deadline_s: float = 0.0
    inline: bool = False
    model: Payload | None = None
    training: TrainingSettings | None = None
    standardisation: Standardisation | None = None
    features: tuple[Name, ...] = ()
    target: Name = ""


class ModelPart(Message, frozen=True):
    """One part of a global model that is too large for the manifest (retained)."""

    payload: Payload


class Update(Message, frozen=True):
    """A device's answer to a manifest: feature sums, trained parameters or an evaluation.

    `weight` is the number of training rows behind the tensors. `evaluation` holds additive sums of the *received*
    global model on this device's held-out rows, taken before training.
    """

    run: RunId
    round: Count
    attempt: Annotated[int, Meta(ge=1, le=1000)]
    task: Task
    device: Id
    boot: Boot
    weight: Count
    payload: Payload | None = None
    loss: float | None = None
    evaluation: dict[Name, float] | None = None
    download_s: float = 0.0
    train_s: float = 0.0
    train_cpu_s: float = 0.0


class Request(Message, frozen=True):
    """The server asks one device: `ping`, or `resend` (the named parts of its update; all if none is named)."""

    correlation: Boot
    server: Boot
    verb: Literal["ping", "resend"]
    run: Name = ""
    round: Count = 0
    attempt: Count = 0
    parts: tuple[Count, ...] = ()


class Reply(Message, frozen=True):
    """A device answers a request, refuses a round (`verb` `round`), or reports what a run cost it (`verb` `report`).

    `meter` of a report counts from the first manifest of the run to its end.
    """

    device: Id
    boot: Boot
    verb: Literal["ping", "resend", "round", "report"]
    ok: bool
    reason: Text = ""
    correlation: Boot = "-"
    run: Name = ""
    round: Count = 0
    attempt: Count = 0
    progress: float = 0.0
    meter: Meter = Meter()


class ServerStatus(Message, frozen=True):
    """Birth of the server (retained); with `state` `lost` its will."""

    boot: Boot
    state: Literal["up", "lost", "leaving"]
    software: Name = ""
    host: Name = ""
    pid: Count = 0


class ControlRequest(Message, frozen=True):
    """One line of the command language, sent by `kehefl ctl`; the answer goes to `control/reply/<reply_to>`."""

    correlation: Boot
    line: Annotated[str, Meta(max_length=4000)]
    reply_to: Id


class ControlReply(Message, frozen=True):
    """What became of a control request."""

    correlation: Boot
    ok: bool
    text: Annotated[str, Meta(max_length=100_000)]


#: Message type codes on the wire. A code is never reused for another struct.
CODES: dict[int, type[Message]] = {
    1: DeviceStatus,
    2: Telemetry,
    3: Manifest,
    4: ModelPart,
    5: Update,
    6: Request,
    7: Reply,
    8: ServerStatus,
    9: ControlRequest,
    10: ControlReply,
}
