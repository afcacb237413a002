"""What a device's process and link have used, and how much of it belongs to one run."""

from __future__ import annotations

from kehefl.protocol.messages import Meter
from kehefl.telemetry.process import read_process
from kehefl.transport.link import Link


def read_meter(process: str, link: Link) -> Meter:
    """Totals since the boot of this process and link."""
    reading, traffic = read_process(), link.counter.snapshot()
    return Meter(
        process=process,
        cpu_s=reading.cpu_s,
        peak_rss_mib=reading.peak_rss_mib,
        sent_bytes=traffic.sent_packet_bytes,
        received_bytes=traffic.received_packet_bytes,
        sent_payload_bytes=traffic.sent_payload_bytes,
        received_payload_bytes=traffic.received_payload_bytes,
    )


class RunMeter:
    """Counts from the first manifest of a run, which is itself part of the run."""

    def __init__(self, run: str, process: str, link: Link, first_packet_bytes: int, first_payload_bytes: int) -> None:
        self.run = run
        self._process = process
        self._link = link
        self._start = read_meter(process, link)
        self._first_packet_bytes = first_packet_bytes
        self._first_payload_bytes = first_payload_bytes

    def read(self) -> Meter:
        """What the run has cost so far; the peak of memory is that of the process's whole life."""
        now, start = read_meter(self._process, self._link), self._start
        return Meter(
            process=self._process,
            cpu_s=now.cpu_s - start.cpu_s,
            peak_rss_mib=now.peak_rss_mib,
            sent_bytes=now.sent_bytes - start.sent_bytes,
            received_bytes=now.received_bytes - start.received_bytes + self._first_packet_bytes,
            sent_payload_bytes=now.sent_payload_bytes - start.sent_payload_bytes,
            received_payload_bytes=now.received_payload_bytes
            - start.received_payload_bytes
            + self._first_payload_bytes,
        )
