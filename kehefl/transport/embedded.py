"""The embedded broker: rumqttd from the package iotcore, for a machine without mosquitto.

It runs in a child of its own, so that its threads and its log stay away from the console, and ends when the pipe to us
ends. MQTT 3.1.1 only, without TCP_NODELAY and without access rules: right for a first run on one machine.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.mosquitto import START_LIMIT_S, STOP_LIMIT_S, TRIES, free_port
from kehefl.transport.probe import answers

_PREFIX: Final = "kehefl-embedded-"

#: Segments bound what the broker keeps of each topic filter; its defaults let memory grow with every round.
CONFIG: Final = """\
id = 0

[router]
id = 0
max_connections = 2000
max_outgoing_packet_count = 200
max_segment_size = 8388608
max_segment_count = 4

[v4.1]
name = "kehefl"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = 8388608
max_inflight_count = 500
dynamic_filters = true
"""


def embedded_is_installed() -> bool:
    """Whether the package that carries the embedded broker is there."""
    return importlib.util.find_spec("iotcore") is not None


async def start_embedded(port: int | None = None) -> tuple[BrokerAddress, Callable[[], Awaitable[None]]]:
    """Start the embedded broker on `port`, or on a free one; its address and what stops it."""
    for _ in range(1 if port else TRIES):
        child = _Embedded(port or free_port())
        if await child.started():
            return child.address, child.stop
        await child.stop()
    raise BrokerError(
        f"The embedded broker did not start on {f'port {port}' if port else 'a free port'}. Choose another port, or "
        "install mosquitto."
    )


class _Embedded:
    """One try at a child."""

    def __init__(self, port: int) -> None:
        self.address = BrokerAddress(host="127.0.0.1", port=port, mqtt="3.1.1")
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._child: asyncio.subprocess.Process | None = None

    async def started(self) -> bool:
        if await answers(self.address):
            return False  # Someone else's port.
        config = self._folder / "rumqttd.toml"
        config.write_text(CONFIG.format(port=self.address.port), encoding="utf-8")
        with (self._folder / "broker.log").open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kehefl.transport.embedded_child",
                str(config),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        exited = asyncio.ensure_future(self._child.wait())
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not exited.done():
                    if await answers(self.address):
                        return True
                    await asyncio.wait({exited}, timeout=0.02)
        except TimeoutError:
            return False
        finally:
            exited.cancel()
        return False

    async def stop(self) -> None:
        child = self._child
        if child is not None and child.stdin is not None:
            child.stdin.close()
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
