"""`kehefl run` as a user types it: real broker, real processes, real data."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kehefl.data.homes import open_home
from kehefl.experiments.testbed import TestbedSettings, testbed
from kehefl.federation.strategies import strategy_names
from kehefl.server.events import UpdateReceived
from kehefl.transport.address import BrokerAddress
from tests.e2e.support import DAWDLING, HERE, ONES, Events

KEYS = {
    "run_id", "scenario", "status", "seed", "devices", "rounds_completed", "metrics", "traffic", "resources", "timing",
    "model", "data_digest", "rejected_messages", "failures",
}  # fmt: skip


def kehefl(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from kehefl.cli.main import main; main()", *arguments, "--state", str(state)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=HERE,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    state = tmp_path_factory.mktemp("run")
    done = kehefl(
        "run",
        "federated",
        "--virtual",
        "8",
        "--dataset",
        "homes",
        "--rounds",
        "20",
        "--seed",
        "1",
        "--json",
        state=state,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "stdout is exactly one JSON object"
    assert "round 20/20" in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_summary_has_what_the_contract_names(first: dict[str, Any]) -> None:
    assert set(first) >= KEYS
    assert (first["scenario"], first["status"], first["seed"]) == ("federated", "done", 1)
    assert (first["devices"], first["rounds_completed"], first["rejected_messages"]) == (8, 20, 0)
    assert first["failures"] == []
    assert set(first["metrics"]["per_device"]) == {f"home-{n:02d}" for n in range(1, 9)}
    assert set(first["traffic"]["per_device"]) == set(first["metrics"]["per_device"])
    assert Path(first["model"]["path"]).is_file()
    for part in ("server", "devices"):
        assert first["resources"][part]["cpu_s"] > 0
        assert first["resources"][part]["peak_rss_mib"] > 10
    assert first["timing"]["wall_s"] * 1000 > first["timing"]["round_ms_median"] * 20 > 0


def test_the_traffic_adds_up(first: dict[str, Any]) -> None:
    traffic = first["traffic"]
    for direction in ("uplink", "downlink"):
        per_device = [device[f"{direction}_bytes"] for device in traffic["per_device"].values()]
        assert sum(per_device) == traffic[f"{direction}_bytes"]
        assert traffic[f"payload_{direction}_bytes"] < traffic[f"{direction}_bytes"]
    # 20 models of 44 bytes, and no rows: 6983 rows of 11 columns would be 307 kB a device.
    assert 20 * 44 < traffic["uplink_bytes"] / 8 < 20_000


def test_the_error_is_that_of_least_squares_on_the_pooled_rows(first: dict[str, Any]) -> None:
    homes = [open_home(client) for client in range(1, 9)]
    x = np.vstack([home.x_train for home in homes]).astype(np.float64)
    y = np.concatenate([home.y_train for home in homes]).astype(np.float64)
    x_test = np.vstack([home.x_test for home in homes]).astype(np.float64)
    y_test = np.concatenate([home.y_test for home in homes]).astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    design = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    weights, *_ = np.linalg.lstsq(design, y, rcond=None)
    predicted = np.column_stack([(x_test - mean) / scale, np.ones(len(x_test))]) @ weights
    least_squares_mae = float(np.abs(predicted - y_test).mean())
    assert first["metrics"]["test_mae"] == pytest.approx(least_squares_mae, rel=0.02)


async def test_one_seed_gives_the_same_bits_in_whatever_order_updates_arrive(
    mosquitto: BrokerAddress, tmp_path: Path
) -> None:
    digests, orders = set(), []
    for turn in range(2):
        settings = TestbedSettings(broker=mosquitto.url, virtual=6, models=(DAWDLING,), state=str(tmp_path / str(turn)))
        async with testbed(settings) as server:
            events = Events(server)
            result = await server.execute(f"run start federated rounds=5 devices=6 seed=7 model={DAWDLING}")
        assert not isinstance(result, str)
        assert result.status == "done"
        digests.add(result.model["sha256"])
        orders.append([event.device for event in events.of(UpdateReceived)])
    assert orders[0] != orders[1]
    assert len(digests) == 1


async def test_another_seed_gives_another_model(mosquitto: BrokerAddress, tmp_path: Path) -> None:
    digests = set()
    async with testbed(TestbedSettings(broker=mosquitto.url, virtual=2, state=str(tmp_path))) as server:
        for seed in (1, 2):
            result = await server.execute(f"run start federated rounds=2 devices=2 seed={seed}")
            assert not isinstance(result, str)
            digests.add(result.model["sha256"])
    assert len(digests) == 2


@pytest.mark.parametrize("strategy", strategy_names())
async def test_when_all_devices_send_ones_the_result_is_exactly_one(
    mosquitto: BrokerAddress, tmp_path: Path, strategy: str
) -> None:
    for number in range(5):
        folder = tmp_path / "data" / f"device-{number}"
        folder.mkdir(parents=True)
        rows = "".join(f"{row},{row * number}\n" for row in range(10 + 37 * number))
        (folder / "rows.csv").write_text("x,y\n" + rows)
    settings = TestbedSettings(
        broker=mosquitto.url, virtual=5, data=str(tmp_path / "data"), features=("x",), target="y", models=(ONES,),
        state=str(tmp_path / "state"),
    )  # fmt: skip
    async with testbed(settings) as server:
        result = await server.execute(f"run start federated rounds=2 devices=5 strategy={strategy} model={ONES}")
    assert not isinstance(result, str)
    assert result.status == "done", result
    tensors = load_file(result.model["path"])
    assert {name: value.shape for name, value in tensors.items()} == {"w": (2, 1), "b": (3,)}
    assert all((value == 1.0).all() for value in tensors.values())


def test_without_any_mosquitto_the_embedded_broker_serves(tmp_path: Path) -> None:
    done = kehefl("run", "federated", "--virtual", "2", "--rounds", "3", "--json", state=tmp_path, KEHEFL_MOSQUITTO="")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "fedrated"), "Did you mean 'federated'"),
        (("run", "federated", "--virtual", "2", "--dataset", "hoems"), "Did you mean 'homes'"),
        (("run", "federated", "--virtual", "2", "--model", "liner"), "Did you mean 'linear'"),
        (("run", "federated", "--virtual", "2", "--strategy", "fedagv"), "Did you mean 'fedavg'"),
        (("run", "federated", "--virtual", "2", "--features", "laod_now"), "Did you mean 'load_now'"),
        (("run", "federated", "--virtual", "2", "--rounds", "0"), "'rounds=0' cannot be used"),
        (("run", "federated", "--virtual", "2", "--quorum", "many"), "'quorum=many' cannot be used"),
        (("run", "federated", "--virtual", "2", "--data", "/nowhere", "--features", "a", "--target", "b"), "folders"),
        (("run", "federated", "--broker", "http://x"), "is not a broker's address"),
    ],
)
def test_what_is_typed_wrong_is_named_before_anything_starts(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = kehefl(*arguments, state=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_broker_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = kehefl("run", "federated", "--virtual", "2", "--broker", "mqtt://127.0.0.1:9", state=tmp_path)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Start one (kehefl broker start)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_devices_fails_with_what_to_do(mosquitto: BrokerAddress, federation: str, tmp_path: Path) -> None:
    done = kehefl(
        "run", "federated", "--broker", mosquitto.url, "--federation", federation, "--wait", "300ms", "--json",
        state=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "0 of 1 needed devices were ready within 0.3 s" in done.stderr
    assert json.loads(done.stdout)["status"] == "failed"


async def test_interrupted_it_keeps_its_state_and_resumes_to_the_same_bits(
    mosquitto: BrokerAddress, tmp_path: Path
) -> None:
    undisturbed = kehefl("run", "federated", "--virtual", "3", "--rounds", "6", "--json", state=tmp_path / "a")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from kehefl.cli.main import main; main()", "run", "federated", "--virtual", "3",
        "--rounds", "6", "--pace", "300ms", "--state", str(tmp_path / "b"), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"round 2/6" not in await process.stderr.readline():
            pass
        process.send_signal(2)
        await process.communicate()
    assert process.returncode == 130
    rows = json.loads(kehefl("runs", "--json", state=tmp_path / "b").stdout)
    assert rows[0]["status"] == "interrupted"
    assert 2 <= rows[0]["rounds_completed"] < 6
    resumed = kehefl("run", "--resume", rows[0]["run_id"], "--virtual", "3", "--json", state=tmp_path / "b")
    assert resumed.returncode == 0, resumed.stderr
    first, second = json.loads(undisturbed.stdout), json.loads(resumed.stdout)
    assert second["rounds_completed"] == 6
    assert second["model"]["sha256"] == first["model"]["sha256"]
