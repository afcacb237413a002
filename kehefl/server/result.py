"""The summary of a run, from its recorded events alone: what `kehefl run --json` prints is what was recorded."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable
from typing import Any

import msgspec

from kehefl.server.events import (
    DeviceChanged,
    MessageRejected,
    RoundClosed,
    RoundEvaluated,
    RoundOpened,
    RunChanged,
    RunMeasured,
    RunStarted,
    Stamped,
)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run. Errors are in the target's unit, bytes are whole MQTT packets, times are seconds.

    Traffic is counted on the devices' links from the first manifest of the run to its end, CPU seconds by process.
    """

    run_id: str
    scenario: str
    status: str
    seed: int
    devices: int
    rounds_completed: int
    metrics: dict[str, Any]
    traffic: dict[str, Any]
    resources: dict[str, dict[str, float]]
    timing: dict[str, float]
    model: dict[str, str]
    data_digest: str
    rejected_messages: int
    failures: list[str]
    settings: dict[str, str | int | float | bool | None]
    reason: str = ""


class _Seen:
    """What the events said so far."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.started_at = self.last_at = 0.0
        self.changed: RunChanged | None = None
        self.measured: RunMeasured | None = None
        self.evaluated: RoundEvaluated | None = None
        self.devices: set[str] = set()
        self.digests: dict[str, str] = {}
        self.walls: list[float] = []
        self.completed = 0
        self.failures: list[str] = []
        self.rejected = 0
        self.checkpoint = ("", "")

    def take(self, stamped: Stamped) -> None:
        event = stamped.event
        self.last_at = stamped.at
        match event:
            case RunStarted():
                self.started = self.started or event
                self.started_at = self.started_at or stamped.at
            case RunChanged():
                self.changed = event
                if event.status in {"failed", "aborted", "interrupted"} and event.reason:
                    self.failures.append(event.reason)
            case DeviceChanged():
                self.digests[event.device] = event.data_digest or self.digests.get(event.device, "")
            case RoundOpened():
                self.devices.update(event.cohort)
            case RoundClosed():
                self._close(event)
            case RoundEvaluated():
                self.evaluated = event
            case RunMeasured():
                self.measured = event
            case MessageRejected():
                self.rejected = event.in_run
            case _:
                pass

    def _close(self, event: RoundClosed) -> None:
        if event.outcome == "failed":
            self.failures.append(event.reason)
        elif event.missing:
            self.failures.append(f"Round {event.round} closed without {', '.join(event.missing)}.")
        if event.outcome == "done" and event.task == "train":
            self.walls.append(event.wall_s)
            self.completed = event.round
        if event.checkpoint:
            self.checkpoint = (event.checkpoint, event.checkpoint_sha256)


def summarise(events: Iterable[Stamped], *, status: str = "") -> Result:
    """The Result of a run's events, in their order. `status` stands in when the end was not recorded."""
    seen = _Seen()
    for stamped in events:
        seen.take(stamped)
    started, changed = seen.started, seen.changed
    settings = dict(started.settings) if started else {}
    devices = sorted(seen.devices)
    digest = hashlib.sha256("".join(f"{name}={seen.digests.get(name, '')};" for name in devices).encode())
    return Result(
        run_id=started.run if started else "",
        scenario=started.scenario if started else "",
        status=status or (changed.status if changed else "interrupted"),
        seed=int(settings.get("seed") or 0),
        devices=len(devices),
        rounds_completed=seen.completed,
        metrics=_metrics(seen.evaluated),
        traffic=_traffic(seen.measured),
        resources=_resources(seen.measured),
        timing={
            "wall_s": round(seen.last_at - seen.started_at, 6),
            "round_ms_median": round(1000 * statistics.median(seen.walls), 3) if seen.walls else 0.0,
        },
        model={
            "path": changed.model_path if changed and changed.model_path else seen.checkpoint[0],
            "sha256": seen.checkpoint[1],
        },
        data_digest=digest.hexdigest(),
        rejected_messages=seen.rejected,
        failures=seen.failures,
        settings=settings,
        reason=changed.reason if changed else "",
    )


def _metrics(evaluated: RoundEvaluated | None) -> dict[str, Any]:
    if evaluated is None:
        return {"per_device": {}}
    return {**evaluated.metrics, "per_device": evaluated.per_device}


def _traffic(measured: RunMeasured | None) -> dict[str, Any]:
    keys = ("uplink_bytes", "downlink_bytes", "payload_uplink_bytes", "payload_downlink_bytes")
    per_device = measured.per_device if measured else {}
    totals: dict[str, Any] = {key: int(sum(device[key] for device in per_device.values())) for key in keys}
    totals["per_device"] = {
        name: {key: int(device[key]) for key in ("uplink_bytes", "downlink_bytes")}
        for name, device in per_device.items()
    }
    return totals


def _resources(measured: RunMeasured | None) -> dict[str, dict[str, float]]:
    server = measured.server if measured else {}
    processes = list(measured.processes.values()) if measured else []
    return {
        "server": {"cpu_s": server.get("cpu_s", 0.0), "peak_rss_mib": server.get("peak_rss_mib", 0.0)},
        "devices": {
            "cpu_s": sum(process["cpu_s"] for process in processes),
            "peak_rss_mib": max((process["peak_rss_mib"] for process in processes), default=0.0),
        },
    }
