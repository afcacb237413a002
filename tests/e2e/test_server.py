"""The headless server, `kehefl ctl`, a second server, and what is left behind when something is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from kehefl.errors import BrokerError, RefusedError
from kehefl.server.control import control
from kehefl.server.core import Server
from kehefl.server.events import Notice, RoundClosed
from kehefl.server.runlog import RunLog
from kehefl.transport.address import BrokerAddress
from tests.e2e.support import HERE, Events, device_process

MAIN = "from kehefl.cli.main import main; main()"


@asynccontextmanager
async def command(*arguments: str, until: bytes) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `kehefl` that runs until killed; entered when it has said `until`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", MAIN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=HERE
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while True:
                line = await process.stdout.readline()
                assert line, "the process ended before it said what was waited for"
                if until in line:
                    break
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ctl(address: BrokerAddress, federation: str, *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, "ctl", "--broker", address.url, "--federation", federation, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_ctl_drives_a_headless_server_and_its_exit_status_tells(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    common = ("--broker", mosquitto.url, "--federation", federation, "--state", str(tmp_path))
    async with (
        command("server", *common, until=b"Serving at"),
        device_process("pi-1", mosquitto, federation, "--dataset", "homes") as device,
    ):
        assert device.stdout is not None
        while b"born" not in await device.stdout.readline():
            pass
        status, out, _ = await ctl(mosquitto, federation, "device", "ping", "pi-1")
        assert (status, "pi-1 answered in" in out) == (0, True)
        status, out, _ = await ctl(mosquitto, federation, "run", "start", "federated", "rounds=2", "pace=2s")
        assert status == 0
        assert "started" in out
        status, _, err = await ctl(mosquitto, federation, "run", "start", "federated")
        assert status == 1
        assert "is still going on" in err
        status, _, err = await ctl(mosquitto, federation, "rnu", "abort")
        assert status == 2
        assert "Did you mean 'run abort'" in err
        status, _, err = await ctl(mosquitto, federation, "device", "show", "pi-9")
        assert status == 1
        assert "No device matches 'pi-9'" in err
        status, _, err = await ctl(mosquitto, federation, "export", "csv", "/tmp/elsewhere.csv")
        assert (status, "cannot be named from elsewhere" in err) == (1, True)
        status, _, err = await ctl(mosquitto, federation, "run", "start", "federated", "model=os:system")
        assert status == 1
        status, out, _ = await ctl(mosquitto, federation, "run", "abort")
        assert (status, "aborted" in out) == (0, True)


async def test_without_a_server_ctl_says_so(mosquitto: BrokerAddress, federation: str) -> None:
    from kehefl.protocol.topics import Topics

    with pytest.raises(BrokerError, match="No server of federation"):
        await control(mosquitto, Topics(federation), "run show", limit_s=0.5)


async def test_a_second_server_of_the_federation_is_refused_and_the_first_goes_on(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    async with Server(broker=mosquitto, federation=federation, state=tmp_path / "a") as first:
        with pytest.raises(
            RefusedError, match=f"Federation '{federation}' already has a server .*process {os.getpid()}"
        ):
            async with Server(broker=mosquitto, federation=federation, state=tmp_path / "b"):
                pass
        assert await first.submit("run show") == "no run is going on"
    async with Server(broker=mosquitto, federation=federation, state=tmp_path / "b") as later:
        assert await later.submit("run show") == "no run is going on"


async def test_a_killed_server_is_no_obstacle_and_its_run_is_found_and_resumed(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    common = ("--broker", mosquitto.url, "--federation", federation, "--state", str(tmp_path))
    async with device_process("pi-1", mosquitto, federation, "--dataset", "homes"):
        async with command("server", *common, until=b"ready") as server:
            await ctl(mosquitto, federation, "run", "start", "federated", "rounds=5", "pace=500ms")
            assert server.stdout is not None
            while b"round 2 done" not in await server.stdout.readline():
                pass
            server.kill()
            await server.wait()
        (tmp_path / "checkpoints" / "some-run").mkdir()
        (tmp_path / "checkpoints" / "some-run" / "round-0001.tmp").write_bytes(b"half")
        async with Server(broker=mosquitto, federation=federation, state=tmp_path) as again:
            notices = [s.event.text for s in again.snapshot() if isinstance(s.event, Notice)]
            assert any("was interrupted after round 2 of 5" in text for text in notices)
            assert any("Removed 1 half-written" in text for text in notices)
            run = again.known("run")[0]  # type: ignore[index]
            result = await again.execute(f"run resume {run}")
            assert not isinstance(result, str)
            assert (result.status, result.rounds_completed) == ("done", 5)
    rounds = [s.event.round for s in RunLog(tmp_path).events(run) if isinstance(s.event, RoundClosed)]
    assert rounds == [0, 1, 2, 3, 4, 5, 6], "every round was closed once, before or after the kill"


@pytest.mark.parametrize("embedded", [False, True])
async def test_kehefl_killed_leaves_no_process_behind(tmp_path: Path, embedded: bool) -> None:
    environment = {**os.environ, "KEHEFL_MOSQUITTO": ""} if embedded else dict(os.environ)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, "run", "federated", "--virtual", "2", "--rounds", "1000", "--pace", "50ms",
        "--state", str(tmp_path), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"round 3/" not in await process.stderr.readline():
            pass
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2, "a broker and the virtual devices"
    process.kill()
    await process.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    assert alive == []
    (row,) = RunLog(tmp_path).runs()
    assert row.status == "running"
    again = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, "run", "federated", "--virtual", "1", "--rounds", "1", "--state", str(tmp_path), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    out, _ = await again.communicate()
    assert json.loads(out)["status"] == "done"


async def test_ctrl_c_on_a_server_ends_it_in_good_order(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    common = ("--broker", mosquitto.url, "--federation", federation, "--state", str(tmp_path))
    async with command("server", *common, until=b"Serving at") as server:
        server.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            assert await server.wait() == 0


async def test_a_patient_server_waits_for_its_broker_and_answers_meanwhile(federation: str, tmp_path: Path) -> None:
    from kehefl.transport.mosquitto import find_mosquitto, free_port, start_mosquitto

    port = free_port()
    nowhere = BrokerAddress(host="127.0.0.1", port=port)
    async with Server(broker=nowhere, federation=federation, state=tmp_path, patient=True) as server:
        events = Events(server)
        await events.until(lambda e: getattr(e, "state", "") == "lost")
        assert await server.submit("run show") == "no run is going on"
        program = find_mosquitto()
        assert program
        _, stop = await start_mosquitto(program, port)
        try:
            await events.until(lambda e: getattr(e, "state", "") == "up")
        finally:
            await stop()
