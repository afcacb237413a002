"""Readings of the process this runs in."""

from __future__ import annotations

import os
import platform
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

_STATM: Final = Path("/proc/self/statm")
_THERMAL: Final = Path("/sys/class/thermal/thermal_zone0/temp")
_BOARD: Final = Path("/proc/device-tree/model")
_MIB: Final = 1 << 20
#: `M_ARENA_MAX` of glibc's malloc.h.
_M_ARENA_MAX: Final = -8
#: `PR_SET_PDEATHSIG` of Linux's prctl.h.
_PR_SET_PDEATHSIG: Final = 1


class Reading(NamedTuple):
    """CPU seconds (user and system) since the process began, resident memory and its peak in MiB."""

    cpu_s: float
    rss_mib: float
    peak_rss_mib: float


def read_process() -> Reading:
    """A reading of this process; some microseconds on Linux."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    peak_mib = peak / _MIB if sys.platform == "darwin" else peak / 1024
    return Reading(time.process_time(), _rss_mib(), peak_mib)


class CpuShare:
    """CPU use of this process between two calls, as percent of one core."""

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._at = time.monotonic()

    def percent(self) -> float:
        """Percent of one core since the last call (above 100 on several cores)."""
        cpu_s, now = time.process_time(), time.monotonic()
        elapsed = now - self._at
        share = 100.0 * (cpu_s - self._cpu_s) / elapsed if elapsed > 0 else 0.0
        self._cpu_s, self._at = cpu_s, now
        return share


def use_one_arena() -> None:
    """Let all threads allocate from one arena, where the C library can (glibc). Call it before there are threads.

    Each thread's own arena would keep a megabyte that is used for a moment; a device has two threads that wait for the
    same few things.
    """
    if sys.platform == "linux":
        import ctypes

        choose = getattr(ctypes.CDLL(None), "mallopt", None)
        if choose is not None:
            choose(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc): what starting up used is most of it."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def die_with_parent(parent: int) -> None:
    """Ask the kernel (Linux) to kill this process when `parent` ends, however busy it is then; ends it at once if that
    has happened already. Elsewhere a child has to notice by its closed input."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def temperature_c() -> float | None:
    """The board's temperature in degrees Celsius where it reports one."""
    try:
        return int(_THERMAL.read_text("ascii")) / 1000
    except (OSError, ValueError):
        return None


def process_name() -> str:
    """`host:pid`: names this process among all of a federation."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}"


def board_name() -> str:
    """The board as it calls itself, for example `Raspberry Pi 4 Model B Rev 1.5`, else system and machine."""
    try:
        return _BOARD.read_text("utf-8", "replace").strip("\0 \n")[:100]
    except OSError:
        return f"{platform.system()} {platform.machine()}"


def _rss_mib() -> float:
    try:
        return int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize() / _MIB
    except OSError:
        import psutil  # Only where the kernel does not tell by itself: it costs a device 3 MB.

        return float(psutil.Process().memory_info().rss) / _MIB
