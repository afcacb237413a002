"""What a run cost: gathered from the devices' own reports when it ends, and from the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from kehefl.protocol.messages import Meter
from kehefl.server.events import RunMeasured
from kehefl.telemetry.process import read_process


class RunReports:
    """Reports of one run. Bytes are added up over devices, CPU seconds over processes: many devices may share one."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._start = read_process()
        self._meters: dict[str, Meter] = {}
        self._came = asyncio.Event()

    def add(self, device: str, meter: Meter) -> None:
        self._meters[device] = meter
        self._came.set()

    async def wait(self, devices: Collection[str], limit_s: float) -> None:
        """Until all of `devices` reported, but not longer than `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                while not self._meters.keys() >= set(devices):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return  # `measured` names those that said nothing.

    def measured(self, server_traffic: Mapping[str, float], expected: Collection[str] = ()) -> RunMeasured:
        """The sums as an event."""
        now = read_process()
        processes: dict[str, dict[str, float]] = {}
        for meter in self._meters.values():
            known = processes.setdefault(meter.process, {"cpu_s": 0.0, "peak_rss_mib": 0.0})
            known["cpu_s"] = max(known["cpu_s"], meter.cpu_s)
            known["peak_rss_mib"] = max(known["peak_rss_mib"], meter.peak_rss_mib)
        return RunMeasured(
            run=self.run,
            per_device={
                device: {
                    "uplink_bytes": meter.sent_bytes,
                    "downlink_bytes": meter.received_bytes,
                    "payload_uplink_bytes": meter.sent_payload_bytes,
                    "payload_downlink_bytes": meter.received_payload_bytes,
                }
                for device, meter in sorted(self._meters.items())
            },
            processes=processes,
            server={
                "cpu_s": now.cpu_s - self._start.cpu_s,
                "peak_rss_mib": now.peak_rss_mib,
                **server_traffic,
            },
            silent=tuple(sorted(set(expected) - self._meters.keys())),
        )
