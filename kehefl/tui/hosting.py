"""Holding the core open while the console runs: one task that enters its context and leaves it, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from kehefl.errors import KeheflError
from kehefl.tui.core import Core


class CoreHost:
    """`opened` gets the core; `failed` gets the sentence of an error that kehefl knows."""

    def __init__(
        self,
        open_core: Callable[[], AbstractAsyncContextManager[Core]],
        *,
        opened: Callable[[Core], None],
        failed: Callable[[str], None],
        crashed: Callable[[Exception], None],
    ) -> None:
        self._open_core = open_core
        self._opened, self._failed, self._crashed = opened, failed, crashed
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Open the core in a task that this object owns."""
        if self._task is None and not self._enough.is_set():
            self._task = asyncio.create_task(self._hold(), name="kehefl core")

    async def stop(self, limit_s: float) -> bool:
        """Leave the core's context, within `limit_s`; after that its task is cancelled. Whether it left by itself."""
        self._enough.set()
        task = self._task
        if task is None:
            return True
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=limit_s)
        return bool(done)

    def hurry(self) -> None:
        """Leave without waiting."""
        self._enough.set()
        if self._task is not None:
            self._task.cancel()

    async def _hold(self) -> None:
        try:
            async with self._open_core() as core:
                if not self._enough.is_set():
                    self._opened(core)
                    await self._enough.wait()
        except KeheflError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - handed to the console, which ends with it
            self._crashed(error)
