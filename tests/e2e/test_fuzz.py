"""Garbage on every topic during a run: counted, shown, and without any effect on the result."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec

from kehefl.experiments.testbed import TestbedSettings, testbed
from kehefl.protocol.envelope import decode, encode
from kehefl.protocol.messages import DeviceStatus, Manifest, Update
from kehefl.server.core import Server
from kehefl.server.events import MessageRejected, RoundOpened
from kehefl.transport.address import BrokerAddress
from kehefl.transport.link import Inbound, Link
from tests.e2e.support import SLOW, Events

LINE = f"run start federated rounds=3 devices=3 seed=5 model={SLOW}"


class Eavesdropper:
    """Hears everything of a federation, and keeps one message of each topic."""

    def __init__(self, address: BrokerAddress, base: str) -> None:
        self.heard: dict[str, bytes] = {}
        self.link = Link(
            address,
            f"eve-{random.randrange(10**9)}",
            on_message=self._take,
            subscriptions=[(base + "#", 1)],
            persistent=False,
        )

    def _take(self, inbound: Inbound) -> None:
        if inbound.payload:
            self.heard[inbound.topic] = bytes(inbound.payload)


def mutations(payload: bytes, rng: random.Random) -> list[bytes]:
    """Truncated, bit-flipped, extended and shuffled versions of a valid message."""
    flipped = bytearray(payload)
    for _ in range(rng.randint(1, 8)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return [
        payload[: rng.randrange(len(payload))],
        bytes(flipped),
        rng.randbytes(rng.randint(1, 400)),
        payload[:28] + rng.randbytes(60),
        b"",
        b"{}",
        b'{"weights": [1.0, 2.0]}',
    ]


async def sha_of(settings: TestbedSettings, attack: bool) -> tuple[str, int, int, list[MessageRejected]]:
    async with testbed(settings) as server:
        events = Events(server)
        run = asyncio.create_task(server.execute(LINE))
        sent = 0
        if attack:
            assert settings.broker is not None
            eve = Eavesdropper(BrokerAddress.parse(settings.broker), server.topics.base)
            async with eve.link:
                await events.until(lambda e: isinstance(e, RoundOpened) and e.round == 2)
                sent = await bombard(eve, random.Random(11), server)
        result = await run
        assert not isinstance(result, str)
        assert result.status == "done", result
        return result.model["sha256"], result.rejected_messages, sent, events.of(MessageRejected)


async def bombard(eve: Eavesdropper, rng: random.Random, server: Server) -> int:
    """Send mutations to every topic that was heard of, devices' and server's, and forged but well-formed messages."""
    sent = 0
    base = server.topics.base
    heard = dict(eve.heard)  # From here on it hears itself.
    for topic, payload in heard.items():
        if topic.startswith(base + "server") or "/control/" in topic:
            continue
        for garbage in mutations(payload, rng):
            if not garbage and (topic.endswith("/status") or topic == base + "round" or "/model/" in topic):
                continue  # An empty message there means that the topic is cleared; that is not garbage.
            await eve.link.publish(topic, garbage)
            sent += topic.startswith(base + "device/") and "/cmd/" not in topic
    for topic, payload in heard.items():
        if "/up/" not in topic or topic.split("/")[-2] != "1":
            continue
        update, body = decode(payload, Update)
        for forged in (
            msgspec.structs.replace(update, weight=2**50),
            msgspec.structs.replace(update, run="another-run"),
            msgspec.structs.replace(update, round=7),
            msgspec.structs.replace(update, device="nobody"),
            msgspec.structs.replace(update, boot="another"),
        ):
            name = server.topics.upload(forged.device, forged.run, forged.round, 0)
            await eve.link.publish(name, encode(forged, body))
            sent += 1
    for word in ("cmd/ping", "cmd/resend", "cmd/nothing"):
        await eve.link.publish(f"{base}device/home-01/{word}", rng.randbytes(50))
    for topic in ("control/request", "device/home-01/reply/ping", "device/stranger/telemetry", "device/x/up/a/b/c"):
        await eve.link.publish(base + topic, rng.randbytes(80))
        sent += 1
    return sent


async def test_garbage_is_counted_and_changes_nothing(mosquitto: BrokerAddress, tmp_path: Path) -> None:
    quiet = TestbedSettings(broker=mosquitto.url, virtual=3, models=(SLOW,), state=str(tmp_path / "quiet"))
    loud = msgspec.structs.replace(quiet, state=str(tmp_path / "loud"))
    undisturbed, none, _, _ = await sha_of(quiet, attack=False)
    disturbed, rejected, sent, shown = await sha_of(loud, attack=True)
    assert none == 0
    assert sent > 40
    # Updates of rounds before that arrive again unaltered are stale; every other message breaks a rule.
    assert rejected >= 0.9 * sent
    assert disturbed == undisturbed
    assert shown[-1].in_run == rejected
    assert any("not a kehefl envelope" in event.reason for event in shown)


async def test_a_manifest_from_a_stranger_does_not_make_a_device_do_anything_strange(
    mosquitto: BrokerAddress, tmp_path: Path
) -> None:
    async with testbed(TestbedSettings(broker=mosquitto.url, virtual=1, state=str(tmp_path))) as server:
        events = Events(server)
        await events.until(lambda e: getattr(e, "device", "") == "home-01")
        eve = Eavesdropper(mosquitto, server.topics.base)
        async with eve.link:
            for manifest in (
                Manifest(run="x", round=1, attempt=1, task="train", state="open", server="eve", cohort=("home-01",)),
                Manifest(run="x", round=2, attempt=1, task="train", state="open", server="eve", cohort=("home-01",), deadline_s=float("nan")),
                Manifest(run="x", round=3, attempt=1, task="evaluate", state="open", server="eve", cohort=("home-01",), inline=True),
            ):  # fmt: skip
                await eve.link.publish(server.topics.round, encode(manifest))
            for payload in (b"\0", b"KEHE", encode(DeviceStatus(device="a", boot="b", state="ready"))):
                await eve.link.publish(server.topics.round, payload)
                await eve.link.publish(server.topics.model("00" * 32, 0), payload)
        result = await server.execute("run start federated rounds=2")
    assert not isinstance(result, str)
    assert result.status == "done"
