"""What is recorded: event stream, run log, checkpoints, summary, export."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kehefl.errors import DataError, KeheflError, UsageError
from kehefl.protocol.messages import Standardisation, TensorSpec
from kehefl.server import events as e
from kehefl.server.checkpoints import About, Checkpoints
from kehefl.server.export import export_run
from kehefl.server.result import summarise
from kehefl.server.runlog import RunLog
from kehefl.server.stream import EventStream

ABOUT = About(
    model="linear", features=("a", "b"), target="t", standardisation=Standardisation((0.0, 0.0), (1.0, 1.0), 0.0, 1.0)
)
SPECS = (TensorSpec("weight", "f4", (2,)), TensorSpec("bias", "f4", (1,)))


def told(state: Path, *events: e.AnyEvent) -> EventStream:
    stream = EventStream(RunLog(state, "fed"), iter(range(1000, 10_000)).__next__)
    for event in events:
        stream.emit(event, durable=True)
    return stream


def a_run(run: str = "r1", status: str = "done") -> list[e.AnyEvent]:
    closed = {"run": run, "attempt": 1, "outcome": "done", "cohort_size": 2, "wall_s": 0.5}
    return [
        e.DeviceChanged(device="a", state="ready", data_digest="11"),
        e.DeviceChanged(device="b", state="ready", data_digest="22"),
        e.RunStarted(run=run, scenario="federated", rounds=1, settings={"seed": 7, "rounds": 1}),
        e.RoundOpened(run=run, round=0, attempt=1, task="statistics", cohort=("a", "b"), needed=1, deadline_s=9),
        e.RoundClosed(round=0, task="statistics", responded=("a", "b"), missing=(), checkpoint="c0", checkpoint_sha256="00", **closed),
        e.RoundOpened(run=run, round=1, attempt=1, task="train", cohort=("a", "b"), needed=1, deadline_s=9),
        e.UpdateReceived(run=run, round=1, attempt=1, device="a", weight=10, payload_bytes=44, after_s=0.4, loss=0.25),
        e.RoundClosed(round=1, task="train", responded=("a",), missing=("b",), checkpoint="c1", checkpoint_sha256="01", **closed),
        e.RoundEvaluated(run=run, round=1, metrics={"test_mae": 0.5}, per_device={"a": {"test_mae": 0.5}}),
        e.RunMeasured(
            run=run,
            per_device={
                "a": {"uplink_bytes": 100, "downlink_bytes": 50, "payload_uplink_bytes": 80, "payload_downlink_bytes": 40},
                "b": {"uplink_bytes": 10, "downlink_bytes": 5, "payload_uplink_bytes": 8, "payload_downlink_bytes": 4},
            },
            processes={"h:1": {"cpu_s": 2.0, "peak_rss_mib": 40.0}, "h:2": {"cpu_s": 1.0, "peak_rss_mib": 50.0}},
            server={"cpu_s": 0.5, "peak_rss_mib": 45.0},
        ),
        e.RunChanged(run=run, status=status, rounds_completed=1, metrics={"test_mae": 0.5}, model_path="/m", model_sha256="01"),  # type: ignore[arg-type]
    ]  # fmt: skip


def test_a_recorded_run_gives_its_summary_back(tmp_path: Path) -> None:
    told(tmp_path, *a_run())
    log = RunLog(tmp_path)
    (row,) = log.runs()
    assert (row.run, row.status, row.rounds_completed, row.checkpoint, row.sha256) == ("r1", "done", 1, "c1", "01")
    result = summarise(log.events("r1"), status=row.status)
    assert (result.seed, result.devices, result.rounds_completed) == (7, 2, 1)
    assert result.metrics == {"test_mae": 0.5, "per_device": {"a": {"test_mae": 0.5}}}
    assert (result.traffic["uplink_bytes"], result.traffic["payload_downlink_bytes"]) == (110, 44)
    assert result.resources["devices"] == {"cpu_s": 3.0, "peak_rss_mib": 50.0}
    assert result.timing["round_ms_median"] == 500.0
    assert result.failures == ["Round 1 closed without b."]
    assert result.model == {"path": "/m", "sha256": "01"}


def test_the_data_digest_depends_on_the_rows_of_those_who_took_part(tmp_path: Path) -> None:
    digests = []
    for number, rows in enumerate(("11", "11", "12")):
        events = a_run()
        events[0] = e.DeviceChanged(device="a", state="ready", data_digest=rows)
        told(tmp_path / str(number), *events)
        digests.append(summarise(RunLog(tmp_path / str(number)).events("r1")).data_digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_newcomer_sees_the_present_and_what_follows(tmp_path: Path) -> None:
    stream = told(tmp_path, *a_run())
    kinds = [type(stamped.event).__name__ for stamped in stream.snapshot()]
    assert {"DeviceChanged", "RunStarted", "RoundClosed", "RunChanged"} <= set(kinds)
    seqs = [stamped.seq for stamped in stream.snapshot()]
    assert seqs == sorted(seqs)
    seen: list[e.Stamped] = []
    leave = stream.subscribe(seen.append)
    stream.emit(e.Notice(level="info", text="x"))
    leave()
    stream.emit(e.Notice(level="info", text="y"))
    assert [stamped.event.text for stamped in seen if isinstance(stamped.event, e.Notice)] == ["x"]


def test_a_run_whose_server_is_gone_is_found_one_that_lives_is_not(tmp_path: Path) -> None:
    told(tmp_path, *a_run("mine")[:3])
    told(tmp_path, *a_run("gone")[:3])
    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        db.execute("UPDATE runs SET pid = 2 WHERE run = 'mine'")
        db.execute("UPDATE runs SET pid = 999999999 WHERE run = 'gone'")
    log = RunLog(tmp_path, "fed")
    found = {row.run for row in log.adopt_interrupted()}
    assert "gone" in found
    if os.path.exists("/proc/2"):  # noqa: PTH110
        assert "mine" not in found
    assert log.run("gone").status == "interrupted"


def test_a_full_disk_loses_nothing_that_waits(tmp_path: Path) -> None:
    stream = told(tmp_path, *a_run()[:3])
    blocker = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)
    blocker.execute("PRAGMA busy_timeout=0")
    blocker.execute("BEGIN IMMEDIATE")
    log = stream._log
    log._db.execute("PRAGMA busy_timeout=0")
    with pytest.raises(KeheflError, match="cannot be written"):
        stream.emit(e.Notice(level="info", text="kept"), durable=True)
    blocker.execute("ROLLBACK")
    stream.flush()
    texts = [s.event.text for s in RunLog(tmp_path).events("r1") if isinstance(s.event, e.Notice)]
    assert texts[0] == "kept"


def test_a_log_of_a_newer_kehefl_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    RunLog(tmp_path).close()
    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(DataError, match="newer kehefl"):
        RunLog(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "runs.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="cannot be opened"):
        RunLog(other)


def test_a_checkpoint_comes_back_and_an_altered_one_does_not(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    vector = np.array([1, 2, 3], np.float32)
    saved = checkpoints.save("r1", 1, vector, SPECS, ABOUT)
    again = Checkpoints(tmp_path).save("r2", 9, vector, SPECS, ABOUT)
    assert saved.sha256 == again.sha256, "equal models make equal files"
    parameters, about = checkpoints.load(saved.path, saved.sha256)
    assert about == ABOUT
    assert parameters["weight"].tolist() == [1, 2]
    assert parameters["bias"].tolist() == [3]
    file = checkpoints.absolute(saved.path)
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(DataError, match="not the one that was recorded"):
        checkpoints.load(saved.path, saved.sha256)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        checkpoints.load(saved.path, saved.sha256)


def test_large_models_leave_only_the_newest_two_files(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    specs = (TensorSpec("w", "f4", (1 << 18,)),)
    for round_ in range(5):
        checkpoints.save("r1", round_, np.zeros(1 << 18, np.float32), specs, ABOUT)
    assert len(list((tmp_path / "checkpoints" / "r1").iterdir())) == 2


def test_exports_have_a_row_per_round_and_device(tmp_path: Path) -> None:
    told(tmp_path, *a_run())
    path = export_run(tmp_path, "r1", "csv", tmp_path / "out.csv")
    rows = {(row["round"], row["device"]): row for row in csv.DictReader(path.open())}
    assert rows["1", "a"]["train_loss"] == "0.25"
    assert rows["1", "b"]["outcome"] == "missing"
    assert rows["1", "*"]["test_mae"] == "0.5"
    lines = export_run(tmp_path, "r", "jsonl", tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"]["type"] for line in lines][-1] == "RunChanged"
    assert all(msgspec.json.decode(line, type=e.Stamped) for line in lines)
    with pytest.raises(DataError, match="There is no run 'nothing'"):
        export_run(tmp_path, "nothing", "csv")
    with pytest.raises(DataError, match="cannot be written"):
        export_run(tmp_path, "r1", "csv", tmp_path / "no" / "where.csv")


def test_parquet_needs_its_extra_or_is_written(tmp_path: Path) -> None:
    told(tmp_path, *a_run())
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(UsageError, match=r"pip install 'kehefl\[report\]'"):
            export_run(tmp_path, "r1", "parquet", tmp_path / "out.parquet")
        return
    path = export_run(tmp_path, "r1", "parquet", tmp_path / "out.parquet")
    assert pyarrow.parquet.read_table(path).num_rows == 6
