"""Mosquitto as a managed child: loopback only, and gone when we are, however we end."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from kehefl.errors import BrokerError
from kehefl.transport.address import BrokerAddress
from kehefl.transport.probe import answers

_ELSEWHERE: Final = (
    "/usr/sbin/mosquitto",
    "/usr/local/sbin/mosquitto",
    "/opt/homebrew/sbin/mosquitto",
    "C:/Program Files/mosquitto/mosquitto.exe",
)
_PREFIX: Final = "kehefl-broker-"
START_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 3.0
#: Tries on free ports: another program may take one between our looking and mosquitto's listening.
TRIES: Final = 3

CONFIG: Final = """\
# Written by kehefl for a broker that lives as long as kehefl does.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
# Without it a round takes 88 ms instead of 0.8: small packets wait for delayed acknowledgements.
set_tcp_nodelay true
# The number of waiting messages is not limited, their bytes are: with a limit on the number, chunks get lost silently.
max_queued_messages 0
max_queued_bytes 536870912
max_inflight_messages 64
max_packet_size 16777216
persistent_client_expiration 1h
log_dest file {log}
log_type error
log_type warning
log_type notice
"""


def find_mosquitto(environ: Mapping[str, str] = os.environ) -> str | None:
    """The mosquitto program: KEHEFL_MOSQUITTO (empty: none), PATH, or one of the places that are not on it."""
    if "KEHEFL_MOSQUITTO" in environ:
        return environ["KEHEFL_MOSQUITTO"] or None
    found = shutil.which("mosquitto", path=environ.get("PATH"))
    return found or next((path for path in _ELSEWHERE if os.access(path, os.X_OK)), None)


async def start_mosquitto(program: str, port: int | None = None) -> tuple[BrokerAddress, Callable[[], Awaitable[None]]]:
    """Start mosquitto on `port`, or on a free one; its address and what stops it. BrokerError with its own last words
    when it does not start."""
    await asyncio.to_thread(_sweep)
    words = ""
    for _ in range(1 if port else TRIES):
        child = _Mosquitto(program, port or free_port())
        if await child.started():
            return child.address, child.stop
        words = child.last_words
        await child.stop()
    where = f"port {port}" if port else "a free port"
    raise BrokerError(
        f"{program} did not start on {where}: {words or 'it said nothing'}. Choose another port with --port, or name a "
        "broker with --broker."
    )


class _Mosquitto:
    """One try at a child."""

    def __init__(self, program: str, port: int) -> None:
        self.address = BrokerAddress(host="127.0.0.1", port=port)
        self.last_words = ""
        self._program = program
        # Readable by nobody else; mosquitto started as root becomes another user, who must be able to log, though.
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._log = self._folder / "mosquitto.log"
        self._child: asyncio.subprocess.Process | None = None

    async def started(self) -> bool:
        config = self._folder / "mosquitto.conf"
        text = CONFIG.format(port=self.address.port, log=self._log)
        if os.name == "posix" and os.geteuid() == 0:
            text += "user root\n"
        config.write_text(text, encoding="utf-8")
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                "-E",
                str(Path(__file__).with_name("guard.py")),
                str(os.getpid()),
                self._program,
                "-c",
                str(config),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C in the terminal is for us; we end it in good order.
            )
        except OSError as error:
            self.last_words = str(error)
            return False
        exited = asyncio.ensure_future(self._child.wait())
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not exited.done():
                    if await answers(self.address):
                        # Someone else may answer there, while ours failed to listen.
                        await asyncio.wait({exited}, timeout=0.05)
                        break
                    await asyncio.wait({exited}, timeout=0.02)
        except TimeoutError:
            self.last_words = f"it does not answer within {START_LIMIT_S:g} s"
            return False
        finally:
            exited.cancel()
        if self._child.returncode is None:
            return True
        self.last_words = self._read_last_words() or f"it ended with status {self._child.returncode}"
        return False

    async def stop(self) -> None:
        child = self._child
        if child is not None and child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _read_last_words(self) -> str:
        try:
            lines = self._log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        errors = [line for line in lines if "Error" in line]
        return (errors or lines or [""])[-1].partition(": ")[2].strip().rstrip(".")


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _sweep() -> None:
    """Remove the folders of brokers whose kehefl was killed."""
    for folder in Path(tempfile.gettempdir()).glob("kehefl-*-*-*"):
        pid = folder.name.split("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
