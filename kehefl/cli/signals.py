"""Exit statuses, and an end in good order for whatever signal ends us."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

FAILED: Final = 1
BAD_USAGE: Final = 2
INTERRUPTED: Final = 130

T = TypeVar("T")


def run_until_signal(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run`, with SIGTERM and SIGHUP ending it in good order like Ctrl+C does."""

    async def main() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel if task else sys.exit)
        return await work()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
