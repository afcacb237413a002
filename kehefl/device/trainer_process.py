"""The child of ProcessTrainer (`... PARENT_PID MODELS...`): orders from stdin, progress and outcomes to stdout.

Frames are a 4-byte little-endian length and a MessagePack struct. It ends with its parent, and when its input ends.
"""

from __future__ import annotations

import os
import sys
import time
from typing import BinaryIO

import msgspec
import numpy as np

from kehefl.data.shard import Shard
from kehefl.device.trainer import FRAME, Answer, Carried, Failed, Progressed, Ready, Rows, Task
from kehefl.device.work import Worker
from kehefl.errors import KeheflError
from kehefl.models.load import load_models
from kehefl.telemetry.process import die_with_parent

#: Progress goes over the pipe at most this often.
PROGRESS_EVERY_S = 0.1


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    # Whatever a model prints must not tear a frame: frames keep the real stdout, prints go to stderr.
    frames = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source = sys.stdin.buffer
    decoder = msgspec.msgpack.Decoder(Rows | Task)
    try:
        models = load_models(sys.argv[2:])
    except KeheflError as error:
        _write(frames, Failed(str(error)))
        return
    worker: Worker | None = None
    while (frame := _read(source)) is not None:
        received = decoder.decode(frame)
        if isinstance(received, Rows):
            worker = Worker(_shard(received), models)
            _write(frames, Ready())
        elif worker is not None:
            _write(frames, _carry_out(worker, received, frames))


def _carry_out(worker: Worker, task: Task, frames: BinaryIO) -> Answer:
    last = 0.0

    def report(done: int, total: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY_S:
            last = time.monotonic()
            _write(frames, Progressed(done / total if total else 0.0, loss))

    try:
        return Carried(worker.carry_out(task.order, report))
    except KeheflError as error:
        return Failed(str(error))
    except Exception as error:  # noqa: BLE001 - a user's model may raise anything; the device says what
        return Failed(f"Training raised {type(error).__name__}: {error}")


def _shard(rows: Rows) -> Shard:
    columns = len(rows.features)
    return Shard(
        name=rows.name,
        source=rows.source,
        simulated=rows.simulated,
        features=rows.features,
        target=rows.target,
        x_train=np.frombuffer(rows.x_train, np.float32).reshape(-1, columns),
        y_train=np.frombuffer(rows.y_train, np.float32),
        x_test=np.frombuffer(rows.x_test, np.float32).reshape(-1, columns),
        y_test=np.frombuffer(rows.y_test, np.float32),
        notes=(),
    )


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    (length,) = FRAME.unpack(head)
    frame = source.read(length)
    return frame if len(frame) == length else None


def _write(frames: BinaryIO, answer: Answer) -> None:
    data = msgspec.msgpack.encode(answer)
    frames.write(FRAME.pack(len(data)) + data)
    frames.flush()


if __name__ == "__main__":
    main()
