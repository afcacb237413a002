"""Devices that are killed, come back, refuse or are late, with real processes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from kehefl.server.core import Server
from kehefl.server.events import (
    DeviceChanged,
    DeviceRefused,
    DeviceTelemetry,
    LinkChanged,
    RoundClosed,
    RoundOpened,
    RunChanged,
    UpdateReceived,
)
from kehefl.transport.address import BrokerAddress
from kehefl.transport.mosquitto import find_mosquitto, free_port, start_mosquitto
from tests.e2e.support import SLOW, Events, device_process, slow_home


def server_for(address: BrokerAddress, federation: str, state: Path, **options: object) -> Server:
    return Server(broker=address, federation=federation, state=state, models=(SLOW,), **options)  # type: ignore[arg-type]


def training(round_: int, device: str):  # type: ignore[no-untyped-def]
    return lambda event: (
        isinstance(event, DeviceTelemetry) and event.device == device and event.round == round_ and event.progress > 0
    )


async def test_killed_in_mid_round_the_round_closes_with_its_quorum_and_the_device_comes_back(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with (
        server_for(mosquitto, federation, tmp_path) as server,
        device_process("pi-1", mosquitto, federation, *slow_home(1), slow_s=0.2),
        device_process("pi-2", mosquitto, federation, *slow_home(2), slow_s=4.0) as doomed,
    ):
        events = Events(server)
        run = asyncio.create_task(
            server.execute(f"run start federated rounds=4 devices=2 quorum=0.5 deadline=6s model={SLOW}")
        )
        await events.until(training(1, "pi-2"))
        doomed.send_signal(signal.SIGKILL)
        lost = await events.until(lambda e: isinstance(e, DeviceChanged) and e.device == "pi-2" and e.state == "lost")
        assert isinstance(lost, DeviceChanged)
        await server.submit("round set deadline=1s")
        closed = await events.until(lambda e: isinstance(e, RoundClosed) and e.round == 1)
        assert isinstance(closed, RoundClosed)
        assert (closed.outcome, closed.responded, closed.missing) == ("done", ("pi-1",), ("pi-2",))
        async with device_process("pi-2", mosquitto, federation, *slow_home(2), slow_s=0.1):
            await server.submit("run pause")
            await events.until(
                lambda e: (
                    isinstance(e, DeviceChanged) and e.device == "pi-2" and e.state == "ready" and e.boot != lost.boot
                )
            )
            await server.submit("round set deadline=10s")
            await server.submit("run resume")
            result = await run
    assert not isinstance(result, str)
    assert (result.status, result.rounds_completed) == ("done", 4)
    came_back = [
        e for e in events.of(RoundOpened) if e.task == "train" and e.cohort == ("pi-1", "pi-2") and e.round > 1
    ]
    assert came_back, "the device that came back was asked again"
    answered = {(e.round, e.device) for e in events.of(UpdateReceived)}
    assert (came_back[-1].round, "pi-2") in answered
    assert any("pi-2" in failure for failure in result.failures)


async def test_without_its_quorum_the_run_fails_and_names_who_was_missing(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with (
        server_for(mosquitto, federation, tmp_path) as server,
        device_process("pi-1", mosquitto, federation, *slow_home(1), slow_s=0.2),
        device_process("pi-2", mosquitto, federation, *slow_home(2), slow_s=4.0) as doomed,
    ):
        events = Events(server)
        run = asyncio.create_task(
            server.execute(
                f"run start federated rounds=3 devices=2 quorum=2 attempts=2 deadline=2s wait=1s model={SLOW}"
            )
        )
        await events.until(training(1, "pi-2"))
        doomed.send_signal(signal.SIGKILL)
        result = await run
    assert not isinstance(result, str)
    assert result.status == "failed"
    assert "pi-2 (lost)" in result.reason
    assert "2 needed" in result.reason or "of 2 needed" in result.reason
    assert result.reason.endswith(".")


async def test_a_device_with_other_columns_refuses_and_the_run_goes_on_without_it(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("co2,temperature\n" + "400,20\n" * 20)
    other = ("--data", str(tmp_path / "rows"), "--features", "co2", "--target", "temperature")
    async with (
        Server(broker=mosquitto, federation=federation, state=tmp_path / "state") as server,
        device_process("pi-1", mosquitto, federation, "--dataset", "homes", "--client", "1"),
        device_process("pi-2", mosquitto, federation, "--dataset", "homes", "--client", "2"),
        device_process("pi-3", mosquitto, federation, *other),
    ):
        events = Events(server)
        result = await server.execute("run start federated rounds=2 devices=3")
    assert not isinstance(result, str)
    assert result.status == "done"
    (refused,) = events.of(DeviceRefused)
    assert refused.device == "pi-3"
    assert "this device has co2 to temperature" in refused.reason


async def test_a_model_that_a_device_does_not_know_is_refused_with_what_to_do(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with (
        server_for(mosquitto, federation, tmp_path) as server,
        device_process("pi-1", mosquitto, federation, "--dataset", "homes"),
    ):
        result = await server.execute(f"run start federated rounds=2 wait=15s model={SLOW}")
    assert not isinstance(result, str)
    assert result.status == "failed"
    assert f"start this device with --model {SLOW}" in result.reason


async def test_a_late_update_is_used_one_round_later_if_the_run_says_so(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with (
        server_for(mosquitto, federation, tmp_path) as server,
        device_process("pi-1", mosquitto, federation, *slow_home(1), slow_s=0.1),
        device_process("pi-2", mosquitto, federation, *slow_home(2), slow_s=1.5),
    ):
        events = Events(server)
        result = await server.execute(
            f"run start federated rounds=2 devices=2 deadline=1s quorum=0.5 late=next-round model={SLOW}"
        )
    assert not isinstance(result, str)
    assert result.status == "done"
    assert [e.carried for e in events.of(RoundOpened) if e.round == 2] == [("pi-2",)]
    late = [e for e in events.of(UpdateReceived) if e.late and e.device == "pi-2"]
    assert [(e.round) for e in late] == [1]
    assert next(e for e in events.of(RoundClosed) if e.round == 2).responded == ("pi-1", "pi-2")


@pytest.mark.parametrize("moment", ["training", "paused"])
async def test_the_broker_is_killed_and_restarted_in_mid_round(federation: str, tmp_path: Path, moment: str) -> None:
    program = find_mosquitto()
    assert program
    port = free_port()
    address, stop = await start_mosquitto(program, port)
    try:
        async with (
            server_for(address, federation, tmp_path) as server,
            device_process("pi-1", address, federation, *slow_home(1), slow_s=1.0),
            device_process("pi-2", address, federation, *slow_home(2), slow_s=1.0),
        ):
            events = Events(server)
            run = asyncio.create_task(
                server.execute(f"run start federated rounds=3 devices=2 deadline=20s quorum=2 model={SLOW}")
            )
            await events.until(lambda e: isinstance(e, RoundOpened) and e.round == 1)
            if moment == "paused":
                await server.submit("run pause")
            await stop()
            await events.until(lambda e: isinstance(e, LinkChanged) and e.state == "lost")
            address, stop = await start_mosquitto(program, port)
            if moment == "paused":
                await events.until(lambda e: isinstance(e, LinkChanged) and e.state == "up")
                await server.submit("run resume")
            result = await run
        assert not isinstance(result, str)
        assert (result.status, result.rounds_completed) == ("done", 3), result
        assert result.rejected_messages == 0
        answered = [(e.round, e.device) for e in events.of(UpdateReceived) if not e.late]
        assert len(answered) == len(set(answered)), "no update is counted twice"
    finally:
        await stop()


async def test_pause_resume_and_abort(mosquitto: BrokerAddress, federation: str, tmp_path: Path) -> None:
    async with (
        server_for(mosquitto, federation, tmp_path) as server,
        device_process("pi-1", mosquitto, federation, *slow_home(1), slow_s=0.3),
    ):
        events = Events(server)
        run = asyncio.create_task(server.execute(f"run start federated rounds=50 model={SLOW}"))
        await events.until(lambda e: isinstance(e, RoundOpened) and e.round == 1)
        await server.submit("run pause")
        await events.until(lambda e: isinstance(e, RoundClosed) and e.round == 1)
        assert "waiting" in await server.submit("run show") or "paused" in await server.submit("run show")
        assert not [e for e in events.of(RoundOpened) if e.round == 2]
        await server.submit("run resume")
        await events.until(lambda e: isinstance(e, RoundOpened) and e.round == 2)
        await server.submit("run abort")
        result = await run
        assert not isinstance(result, str)
        assert (result.status, result.reason) == ("aborted", "aborted by the operator")
        await events.until(lambda e: isinstance(e, RunChanged) and e.status == "aborted")
        assert await server.submit("run show") == "no run is going on"
