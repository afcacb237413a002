"""Models that travel in parts: 6 MB, also over a broker that takes only small packets, also when it dies meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from kehefl.server.core import Server
from kehefl.server.events import LinkChanged, RoundOpened, UpdateReceived
from kehefl.transport.address import BrokerAddress
from kehefl.transport.mosquitto import find_mosquitto, free_port, start_mosquitto
from tests.e2e.support import LARGE, Events, device_process
from tests.e2e.test_link import mosquitto_with

HOME = ("--dataset", "homes", "--rows", "50", "--model", LARGE)


async def rounds_of(address: BrokerAddress, federation: str, state: Path) -> np.ndarray:
    async with (
        Server(broker=address, federation=federation, state=state, models=(LARGE,)) as server,
        device_process("pi-1", address, federation, *HOME),
        device_process("pi-2", address, federation, *HOME),
    ):
        result = await server.execute(f"run start federated rounds=3 devices=2 quorum=2 deadline=20s model={LARGE}")
    assert not isinstance(result, str)
    assert (result.status, result.rejected_messages) == ("done", 0), result
    # Three models down and up for each of two devices, and one more down to be evaluated.
    assert 3 * 6e6 < result.traffic["payload_uplink_bytes"] / 2 < 3.1 * 6e6
    assert 4 * 6e6 < result.traffic["payload_downlink_bytes"] / 2 < 4.1 * 6e6
    return load_file(result.model["path"])["w"]


@pytest.mark.parametrize("packet", [None, 2_000_000, 100_000])
async def test_a_large_model_arrives_whole_whatever_the_broker_takes(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path, packet: int | None
) -> None:
    expected = np.arange(1_500_000, dtype=np.float32) + 3
    if packet is None:
        assert np.array_equal(await rounds_of(mosquitto, federation, tmp_path / "state"), expected)
        return
    options = ("allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0", f"max_packet_size {packet}")
    async with mosquitto_with(tmp_path, *options) as address:
        assert np.array_equal(await rounds_of(address, federation, tmp_path / "state"), expected)


async def test_the_broker_dies_while_parts_are_on_their_way(federation: str, tmp_path: Path) -> None:
    program = find_mosquitto()
    assert program
    port = free_port()
    address, stop = await start_mosquitto(program, port)
    try:
        async with (
            Server(broker=address, federation=federation, state=tmp_path, models=(LARGE,)) as server,
            device_process("pi-1", address, federation, *HOME),
            device_process("pi-2", address, federation, *HOME),
        ):
            events = Events(server)
            run = asyncio.create_task(
                server.execute(f"run start federated rounds=3 devices=2 quorum=2 deadline=30s model={LARGE}")
            )
            await events.until(lambda e: isinstance(e, RoundOpened) and e.round == 2)
            await stop()
            await events.until(lambda e: isinstance(e, LinkChanged) and e.state == "lost")
            _, stop = await start_mosquitto(program, port)
            result = await run
        assert not isinstance(result, str)
        assert result.status == "done", result
        assert np.array_equal(load_file(result.model["path"])["w"], np.arange(1_500_000, dtype=np.float32) + 3)
        answered = [(e.round, e.device) for e in events.of(UpdateReceived) if not e.late]
        assert len(answered) == len(set(answered))
    finally:
        await stop()
