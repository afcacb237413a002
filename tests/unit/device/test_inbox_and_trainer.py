"""Models on their way in, and where training happens."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from kehefl.data.open import DataSpec, open_shard
from kehefl.device.inbox import KEPT_MODELS, ModelInbox
from kehefl.device.trainer import ProcessTrainer, ThreadTrainer
from kehefl.device.work import Order, seeded
from kehefl.errors import KeheflError, RefusedError
from kehefl.federation.statistics import standardisation_of, standardise, standardise_target, sums_of
from kehefl.models.linear import Linear
from kehefl.protocol.messages import TensorSpec, TrainingSettings
from kehefl.protocol.tensors import specs_of, split

SHARD = open_shard(DataSpec(dataset="homes", rows=200))
LINEAR = Linear()
REFERENCE = standardisation_of({"pi": sums_of(SHARD.x_train, SHARD.y_train)})
START = LINEAR.initialise(10, seeded("x"))


def order(task: str = "train", **changes: object) -> Order:
    facts: dict[str, object] = {
        "device": "pi",
        "round": 1,
        "task": task,
        "vector": bytes(44),
        "specs": specs_of(START),
        "training": TrainingSettings(model="linear", epochs=2, batch_size=8, learning_rate=0.01, seed=1),
        "standardisation": REFERENCE,
    }
    return Order(**{**facts, **changes})  # type: ignore[arg-type]


def parts_of(size: int, part_bytes: int) -> tuple[list, memoryview, tuple[TensorSpec, ...]]:  # type: ignore[type-arg]
    body = memoryview(np.arange(size, dtype="<f4")).cast("B")
    specs = (TensorSpec("w", "f4", (size,)),)
    return split(body, specs, part_bytes), body, specs


async def test_parts_may_come_before_and_after_the_manifest() -> None:
    payloads, body, specs = parts_of(1000, 1000)
    inbox = ModelInbox()
    inbox.add(payloads[2], body[2000:3000])
    waiting = asyncio.create_task(inbox.get(payloads[0], specs))
    await asyncio.sleep(0)
    assert inbox.missing(payloads[0].digest) == (0, 1, 3)
    for part in (3, 0, 1):
        inbox.add(payloads[part], body[1000 * part : 1000 * (part + 1)])
    assert await waiting == bytes(body)


async def test_only_the_newest_models_are_kept() -> None:
    inbox = ModelInbox()
    for size in range(1000, 1000 + 10 * KEPT_MODELS):
        payloads, body, _ = parts_of(size, 1000)
        inbox.add(payloads[1], body[1000:2000])
    assert len(inbox._early) <= KEPT_MODELS


@pytest.mark.parametrize("kind", [ThreadTrainer, ProcessTrainer])
async def test_both_trainers_give_the_same_bits(kind: type) -> None:
    trainer = ThreadTrainer({"linear": LINEAR}) if kind is ThreadTrainer else ProcessTrainer(("linear",))
    trainer.use(SHARD)
    outcome = await trainer.carry_out(order(), lambda *_: None)
    await trainer.close()
    x, y = standardise(SHARD.x_train, REFERENCE), standardise_target(SHARD.y_train, REFERENCE)
    expected = LINEAR.train(
        START, x, y, epochs=2, batch_size=8, learning_rate=0.01, rng=seeded(1, 1, "pi"),
        report=lambda *_: None,
    )  # fmt: skip
    assert outcome.weight == 200
    assert outcome.body == np.concatenate([expected.parameters["weight"], expected.parameters["bias"]]).tobytes()


async def test_training_never_happens_on_the_event_loop_until_it_is_known_to_be_quick() -> None:
    threads = []

    class Watched(Linear):
        def train(self, *arguments: object, **settings: object) -> object:  # type: ignore[override]
            threads.append(threading.current_thread() is threading.main_thread())
            return super().train(*arguments, **settings)  # type: ignore[arg-type]

    trainer = ThreadTrainer({"linear": Watched()})
    trainer.use(SHARD)
    assert not trainer.is_quick(order())
    await trainer.carry_out(order(), lambda *_: None)
    assert threads == [False]
    await trainer.close()


@pytest.mark.parametrize("trainer", [ThreadTrainer({"linear": LINEAR}), ProcessTrainer(("linear",))])
async def test_without_rows_an_order_is_refused(trainer: ThreadTrainer | ProcessTrainer) -> None:
    with pytest.raises(RefusedError, match="no rows"):
        await trainer.carry_out(order(), lambda *_: None)
    await trainer.close()


async def test_a_cancelled_order_ends_its_process_and_the_next_one_gets_another() -> None:
    trainer = ProcessTrainer(("linear",))
    trainer.use(SHARD)
    settings = TrainingSettings(model="linear", epochs=1_000_000, batch_size=1, learning_rate=0.001, seed=1)
    began = asyncio.Event()
    task = asyncio.create_task(trainer.carry_out(order(training=settings), lambda *_: began.set()))
    async with asyncio.timeout(20):
        await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await trainer.carry_out(order(), lambda *_: None)).weight == 200
    await trainer.close()


async def test_a_process_that_cannot_start_says_why() -> None:
    trainer = ProcessTrainer(("nowhere:Model",))
    trainer.use(SHARD)
    with pytest.raises(KeheflError, match="cannot be imported"):
        await trainer.carry_out(order(), lambda *_: None)
    await trainer.close()


async def test_diverging_training_is_refused_with_advice() -> None:
    trainer = ThreadTrainer({"linear": LINEAR})
    trainer.use(SHARD)
    settings = TrainingSettings(model="linear", epochs=50, batch_size=8, learning_rate=1000.0, seed=1)
    with pytest.raises(RefusedError, match="Lower the learning rate"), np.errstate(all="ignore"):
        await trainer.carry_out(order(training=settings), lambda *_: None)
    await trainer.close()
