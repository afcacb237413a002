"""A device as a process of its own: what it loads, what it weighs, and that training does not cost it its connection."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from kehefl.server.core import Server
from kehefl.server.events import DeviceChanged, DeviceTelemetry, RoundClosed
from kehefl.transport.address import BrokerAddress
from tests.e2e.support import Events, device_process

#: What a device has no use for: the console, the server, other commands, and the libraries of those.
NOT_FOR_A_DEVICE = {
    "textual", "rich", "click", "safetensors", "cryptography", "iotcore", "psutil", "sqlite3", "multiprocessing", "pandas",
    "kehefl.server", "kehefl.tui", "kehefl.experiments", "kehefl.bench", "kehefl.cli.main", "kehefl.device.fleet",
}  # fmt: skip
IDLE_MIB = 42.0

REPORT = """
import asyncio, json, sys
from kehefl.cli import device as cli
from kehefl.device.device import Device
async def main():
    task = asyncio.create_task(Device(sys.argv[2], broker=sys.argv[1], federation=sys.argv[3], **json.loads(sys.argv[4])).run())
    await asyncio.sleep(3)
    print(json.dumps(sorted(sys.modules)), flush=True)
    task.cancel()
    await asyncio.wait([task])
asyncio.run(main())
"""


def recordings(folder: Path) -> Path:
    rows = "".join(
        f"2026-01-01 00:{row // 60:02d}:{row % 60:02d},{400 + row},{20 + row / 100},40\r\n" for row in range(900)
    )
    (folder / "2026-01-01.csv").write_text("timestamp,co2,temperature,humidity\r\n" + rows)
    return folder


async def test_a_device_has_loaded_nothing_it_does_not_use(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    options = {"data": str(recordings(tmp_path)), "features": ["co2", "humidity"], "target": "temperature"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPORT, mosquitto.url, "pi-1", federation, json.dumps(options), stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    out, _ = await process.communicate()
    assert NOT_FOR_A_DEVICE & set(json.loads(out)) == set()


@pytest.mark.parametrize("data", ["recordings", "homes"])
async def test_an_idle_device_is_small(mosquitto: BrokerAddress, federation: str, tmp_path: Path, data: str) -> None:
    options: tuple[str, ...] = ("--dataset", "homes")
    if data == "recordings":
        options = ("--data", str(recordings(tmp_path)), "--features", "co2,humidity", "--target", "temperature")
    async with (
        Server(broker=mosquitto, federation=federation, state=tmp_path / "state") as server,
        device_process("pi-1", mosquitto, federation, *options) as device,
    ):
        events = Events(server)
        await events.until(lambda e: isinstance(e, DeviceTelemetry))
        status = Path(f"/proc/{device.pid}/status").read_text()
    rss_mib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024
    print(f"idle device with {data}: {rss_mib:.1f} MiB RSS")
    assert rss_mib < IDLE_MIB


BUSY = {"thread": "tests.e2e.busy:PurePython", "process": "tests.e2e.busy:NeverReleasing"}


async def keeps_its_connection(
    address: BrokerAddress, federation: str, state: Path, trainer: str, busy_s: float
) -> None:
    options = ("--dataset", "homes", "--rows", "10", "--model", BUSY[trainer], "--trainer", trainer)
    async with (
        Server(broker=address, federation=federation, state=state, models=(BUSY[trainer],)) as server,
        device_process("pi-1", address, federation, *options, slow_s=busy_s),
    ):
        events = Events(server)
        result = await server.execute(f"run start federated rounds=1 deadline={busy_s + 60}s model={BUSY[trainer]}")
        lost = [e for e in events.of(DeviceChanged) if e.state == "lost"]
    assert not isinstance(result, str)
    assert result.status == "done", result
    (trained,) = [e for e in events.of(RoundClosed) if e.task == "train"]
    assert trained.attempt == 1
    assert trained.wall_s >= busy_s
    assert lost == [], "the broker never missed a keepalive"


@pytest.mark.slow
async def test_ninety_busy_seconds_do_not_cost_a_keepalive_of_twenty(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    await asyncio.gather(
        keeps_its_connection(mosquitto, federation + "-t", tmp_path / "t", "thread", 90.0),
        keeps_its_connection(mosquitto, federation + "-p", tmp_path / "p", "process", 90.0),
    )


async def test_training_in_a_process_of_its_own_gives_the_same_bits(
    mosquitto: BrokerAddress, federation: str, tmp_path: Path
) -> None:
    digests = set()
    for trainer in ("thread", "process"):
        name = f"{federation}-{trainer}"
        options = ("--dataset", "homes", "--rows", "500", "--trainer", trainer)
        async with (
            Server(broker=mosquitto, federation=name, state=tmp_path / trainer) as server,
            device_process("pi-1", mosquitto, name, *options),
        ):
            result = await server.execute("run start federated rounds=3")
        assert not isinstance(result, str)
        assert result.status == "done", result
        digests.add(result.model["sha256"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("pi+1", "--dataset", "homes"), 2, "cannot be a device id"),
        (("lab/pi", "--dataset", "homes"), 2, "for example 'lab-pi'"),
        (("PI-1", "--dataset", "homes"), 2, "for example 'pi-1'"),
        (("pi-1",), 2, "The device has no data"),
        (("pi-1", "--dataset", "hoems"), 2, "Did you mean 'homes'"),
        (("pi-1", "--sensor", "romo"), 2, "Did you mean 'room'"),
        (("pi-1", "--data", "/nowhere", "--features", "a"), 2, "--target"),
        (("pi-1", "--dataset", "homes", "--model", "nowhere:Model"), 2, "cannot be imported"),
        (("pi-1", "--dataset", "homes", "--broker", "ftp://x"), 2, "is not a broker's address"),
        (("pi-1", "--dataset", "homes", "--client", "0"), 2, "number from 1"),
    ],
)
async def test_what_is_typed_wrong_is_said_in_a_sentence(arguments: tuple[str, ...], status: int, says: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kehefl.cli.device", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    assert (process.returncode, says in err.decode(), "Traceback" in err.decode()) == (status, True, False), (
        err.decode()
    )


async def test_a_second_device_of_the_same_id_takes_over_and_the_first_says_why_it_stops(
    mosquitto: BrokerAddress, federation: str
) -> None:
    home = ("--dataset", "homes")
    async with device_process("pi-1", mosquitto, federation, *home) as first:
        assert first.stdout is not None
        async with asyncio.timeout(20):
            while b"born" not in await first.stdout.readline():
                pass
            async with device_process("pi-1", mosquitto, federation, *home):
                rest = await first.stdout.read()
                assert await first.wait() == 1
    assert b"took this session over" in rest
    assert b"Traceback" not in rest
