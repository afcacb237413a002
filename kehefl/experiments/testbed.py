"""A testbed: a broker, a server core, and virtual devices in a process of their own; all gone when it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from kehefl.data.open import DataSpec, client_names, open_shard
from kehefl.device.fleet import FleetConfig, Member
from kehefl.errors import KeheflError, UsageError
from kehefl.protocol.topics import DEFAULT_PREFIX, check_id
from kehefl.server.core import Server
from kehefl.server.state import default_state
from kehefl.transport.broker import BrokerHandle, obtain_broker

STOP_LIMIT_S: Final = 5.0
#: Devices of one process: more would only share its interpreter.
DEVICES_PER_PROCESS: Final = 250


class TestbedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around a run. `virtual` devices are started here; 0 leaves the devices to others."""

    __test__ = False  # Not a test, whatever its name begins with.

    broker: str | None = None
    federation: str | None = None
    prefix: str = DEFAULT_PREFIX
    state: str | None = None
    virtual: int = 0
    dataset: str | None = None
    data: str | None = None
    features: tuple[str, ...] = ()
    target: str | None = None
    rows: int | None = None
    models: tuple[str, ...] = ()
    trainer: str = "thread"


def check_data(settings: TestbedSettings) -> None:
    """UsageError or DataError for what is wrong with the virtual devices' data, before anything is started."""
    if settings.virtual:
        open_shard(members_of(settings)[0].data)


def members_of(settings: TestbedSettings) -> tuple[Member, ...]:
    """The virtual devices with their data. UsageError when the data cannot be shared among so many."""
    number = settings.virtual
    common = DataSpec(features=settings.features, target=settings.target, rows=settings.rows)
    if settings.data is None:
        dataset = settings.dataset or "homes"
        return tuple(
            Member(name, msgspec.structs.replace(common, dataset=dataset, client=index + 1, clients=number))
            for index, name in enumerate(client_names(dataset, number))
        )
    root = Path(settings.data)
    folders = sorted(path for path in root.glob("*/") if any(path.glob("*.csv")))
    if not folders and number == 1:
        folders = [root]
    if len(folders) < number:
        raise UsageError(
            f"{number} virtual devices need {number} folders of CSV files below {root}, one each; there are "
            f"{len(folders)}. Ask for fewer with --virtual, or add folders."
        )
    return tuple(
        Member(check_id(folder.name.lower()), msgspec.structs.replace(common, directory=str(folder)))
        for folder in folders[:number]
    )


@asynccontextmanager
async def testbed(settings: TestbedSettings, *, patient: bool = False) -> AsyncIterator[Server]:
    """Start broker, server and virtual devices; stop them in the reverse order, whatever happens.

    Without a name of its own, a testbed with virtual devices takes a federation that nobody else has, and clears what
    it left at the broker.
    """
    members = members_of(settings) if settings.virtual else ()
    ephemeral = bool(members) and settings.federation is None
    federation = settings.federation or (f"testbed-{secrets.token_hex(3)}" if ephemeral else "default")
    state = Path(settings.state) if settings.state else default_state()
    async with AsyncExitStack() as stack:
        handle = await obtain_broker(settings.broker, state_dir=state)
        stack.push_async_callback(handle.stop)
        server = Server(
            broker=handle,
            federation=federation,
            prefix=settings.prefix,
            state=state,
            models=settings.models,
            patient=patient,
            ephemeral=ephemeral,
        )
        await stack.enter_async_context(server)
        for begin in range(0, len(members), DEVICES_PER_PROCESS):
            part = members[begin : begin + DEVICES_PER_PROCESS]
            fleet = FleetProcess(_config(settings, handle, federation, part), state / "fleet.log")
            await stack.enter_async_context(fleet)
            watch = asyncio.create_task(_watch(fleet, server))
            stack.push_async_callback(_end, watch)
        # First of all the run is suspended: rounds must not close with the devices that happen to stop last.
        stack.callback(server.suspend, "the server was stopped")
        yield server


testbed.__test__ = False  # type: ignore[attr-defined]


async def _watch(fleet: FleetProcess, server: Server) -> None:
    """Tell when virtual devices end by themselves; a run without them would wait for nothing."""
    server.devices_ended(await fleet.ended())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _config(settings: TestbedSettings, handle: BrokerHandle, federation: str, members: Sequence[Member]) -> FleetConfig:
    return FleetConfig(
        broker=handle.address,
        members=tuple(members),
        federation=federation,
        prefix=settings.prefix,
        models=settings.models,
        trainer=settings.trainer,
    )


class FleetProcess:
    """A child process with virtual devices. It dies with us however we die: its input ends."""

    def __init__(self, config: FleetConfig, log: Path) -> None:
        self._config = config
        self._log = log
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the running child."""
        if self._child is None:
            raise KeheflError("The fleet has not been started.")
        return self._child.pid

    async def ended(self) -> str:
        """Wait for the child to end by itself; its last words."""
        if self._child is None:
            raise KeheflError("The fleet has not been started.")
        status = await self._child.wait()
        words = self._log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        return f"The virtual devices ended (status {status}{': ' + words[0] if words else ''}). Their log: {self._log}"

    async def __aenter__(self) -> FleetProcess:
        self._log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One BLAS thread: the devices of a fleet share the cores among themselves.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kehefl.device.fleet",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl+C in the terminal is for us; we end the fleet in good order.
            )
        if self._child.stdin is None:
            raise KeheflError("The fleet process has no input.")
        self._child.stdin.write(msgspec.json.encode(self._config) + b"\n")
        await self._child.stdin.drain()
        return self

    async def __aexit__(self, *_: object) -> None:
        child = self._child
        if child is None or child.stdin is None:
            return
        child.stdin.close()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
