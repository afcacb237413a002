"""Where a device computes: in a thread, or in a process of its own for models that never release the interpreter."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from kehefl.data.shard import Shard
from kehefl.device.work import Order, Outcome, Worker
from kehefl.errors import KeheflError, RefusedError
from kehefl.models.base import Model, TrainingCancelled
from kehefl.protocol.messages import TrainingSettings

#: An order that took less than this is carried out on the event loop the next time: handing it to a thread and back
#: would cost more, and nothing waits that long for the loop.
QUICK_S: Final = 0.0005

#: Progress and loss of the training that goes on.
Progress = Callable[[float, float], None]


class Trainer(Protocol):
    """Carries out orders one at a time, never on the event loop."""

    def use(self, shard: Shard) -> None:
        """Train on these rows from now on."""

    async def carry_out(self, order: Order, progress: Progress) -> Outcome:
        """The outcome; RefusedError with a reason when it cannot be done. Cancelling it withdraws the order."""

    def is_quick(self, order: Order) -> bool:
        """Whether this order took less time than a change of threads costs, when it was last carried out."""

    def carry_out_now(self, order: Order) -> Outcome:
        """The outcome of a quick order, without leaving the event loop."""

    async def close(self) -> None:
        """Let go of threads and processes."""


class ThreadTrainer:
    """Trains in a thread. Enough for numpy and whatever else lets go of the interpreter now and then."""

    def __init__(self, models: dict[str, Model], pool: concurrent.futures.Executor | None = None) -> None:
        self._models = models
        self._own_pool = pool is None
        self._pool = pool or concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="training")
        self._worker: Worker | None = None
        #: Seconds that each kind of order took when it was last carried out.
        self._took_s: dict[tuple[str, TrainingSettings | None], float] = {}

    def use(self, shard: Shard) -> None:
        self._worker = Worker(shard, self._models)
        self._took_s.clear()

    async def carry_out(self, order: Order, progress: Progress) -> Outcome:
        worker = self._ready_worker()
        cancelled = False

        def report(done: int, total: int, loss: float) -> None:
            if cancelled:
                raise TrainingCancelled
            progress(done / total if total else 0.0, loss)

        def work() -> Outcome:
            began = time.perf_counter()
            outcome = worker.carry_out(order, report)
            self._took_s[_kind(order)] = time.perf_counter() - began
            return outcome

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except asyncio.CancelledError:
            # The thread cannot be stopped, only asked: it ends at its next report, and its outcome is dropped.
            cancelled = True
            raise

    def is_quick(self, order: Order) -> bool:
        return self._took_s.get(_kind(order), QUICK_S) < QUICK_S

    def carry_out_now(self, order: Order) -> Outcome:
        began = time.perf_counter()
        outcome = self._ready_worker().carry_out(order, lambda *_: None)
        self._took_s[_kind(order)] = time.perf_counter() - began
        return outcome

    def _ready_worker(self) -> Worker:
        if self._worker is None:
            raise RefusedError("There are no rows to train on yet.")
        return self._worker

    async def close(self) -> None:
        if self._own_pool:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _kind(order: Order) -> tuple[str, TrainingSettings | None]:
    return order.task, order.training


# The process trainer ------------------------------------------------------------------------------------------------

FRAME: Final = struct.Struct("<I")
#: A child that does not even say what rows it got in this time will not train either.
START_LIMIT_S: Final = 60.0


class Rows(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The rows a training process works on, as raw little-endian float32 bytes."""

    name: str
    source: str
    simulated: bool
    features: tuple[str, ...]
    target: str
    x_train: bytes
    y_train: bytes
    x_test: bytes
    y_test: bytes


class Task(msgspec.Struct, frozen=True, tag=True):
    """An order for the process."""

    order: Order


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """How far the training is."""

    share: float
    loss: float


class Carried(msgspec.Struct, frozen=True, tag=True):
    """The outcome of an order."""

    outcome: Outcome


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Why an order was not carried out."""

    reason: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The process has its rows and models."""


Answer = Progressed | Carried | Failed | Ready


class ProcessTrainer:
    """Trains in a child process, which is killed to cancel and ends by itself when this process ends (its pipe closes).

    Only models that can be named (`linear`, `module:Class`) can be trained there.
    """

    def __init__(self, model_names: tuple[str, ...]) -> None:
        self._model_names = model_names
        self._rows: Rows | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self._one_at_a_time = asyncio.Lock()

    def use(self, shard: Shard) -> None:
        self._rows = Rows(
            name=shard.name,
            source=shard.source,
            simulated=shard.simulated,
            features=shard.features,
            target=shard.target,
            x_train=shard.x_train.tobytes(),
            y_train=shard.y_train.tobytes(),
            x_test=shard.x_test.tobytes(),
            y_test=shard.y_test.tobytes(),
        )
        self._kill()

    async def carry_out(self, order: Order, progress: Progress) -> Outcome:
        async with self._one_at_a_time:
            try:
                child = await self._started()
                await self._send(child, Task(order))
                while True:
                    match await self._receive(child):
                        case Progressed(share, loss):
                            progress(share, loss)
                        case Carried(outcome):
                            return outcome
                        case Failed(reason):
                            raise RefusedError(reason)
                        case Ready():
                            continue
            except asyncio.CancelledError:
                self._kill()
                raise

    def is_quick(self, order: Order) -> bool:
        del order
        return False

    def carry_out_now(self, order: Order) -> Outcome:
        raise RefusedError(f"Round {order.round} cannot be trained on the event loop.")

    async def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            if child.returncode is None:
                child.kill()
            await child.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._rows is None:
            raise RefusedError("There are no rows to train on yet.")
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kehefl.device.trainer_process",
                str(os.getpid()),
                *self._model_names,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            await self._send(self._child, self._rows)
            async with asyncio.timeout(START_LIMIT_S):
                answer = await self._receive(self._child)
            if isinstance(answer, Failed):
                raise RefusedError(answer.reason)
        return self._child

    async def _send(self, child: asyncio.subprocess.Process, frame: msgspec.Struct) -> None:
        if child.stdin is None:
            raise RefusedError("The training process has no input.")
        data = msgspec.msgpack.encode(frame)
        child.stdin.write(FRAME.pack(len(data)) + data)
        with contextlib.suppress(ConnectionError):  # The read that follows says why the child is gone.
            await child.stdin.drain()

    async def _receive(self, child: asyncio.subprocess.Process) -> Answer:
        if child.stdout is None:
            raise RefusedError("The training process has no output.")
        try:
            (length,) = FRAME.unpack(await child.stdout.readexactly(FRAME.size))
            answer: Answer = self._decoder.decode(await child.stdout.readexactly(length))
            return answer
        except asyncio.IncompleteReadError:
            status = await child.wait()
            raise RefusedError(f"The training process ended with status {status}; its error is on stderr.") from None

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()  # The event loop's child watcher reaps it.


def make_trainer(
    kind: str, models: dict[str, Model], pool: concurrent.futures.Executor | None = None
) -> ThreadTrainer | ProcessTrainer:
    """`thread` or `process`; KeheflError for another kind."""
    if kind == "thread":
        return ThreadTrainer(models, pool)
    if kind == "process":
        return ProcessTrainer(tuple(models))
    raise KeheflError(f"There is no trainer '{kind}'. Known: process, thread.")
