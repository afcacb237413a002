"""The broker ladder, and children that do not outlive their parents."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from kehefl.errors import BrokerError
from kehefl.transport import broker as ladder
from kehefl.transport.address import BrokerAddress
from kehefl.transport.broker import obtain_broker
from kehefl.transport.mosquitto import find_mosquitto, free_port, start_mosquitto
from kehefl.transport.probe import answers, probe

ONLY_OURS = frozenset({"found"})


async def test_a_broker_that_is_named_is_used_and_not_touched(mosquitto: BrokerAddress) -> None:
    for handle in (
        await obtain_broker(mosquitto.url, environ={}),
        await obtain_broker(environ={"KEHEFL_BROKER": mosquitto.url}),
    ):
        assert (handle.kind, handle.address.port) == ("given", mosquitto.port)
        await handle.stop()
    assert await answers(mosquitto)


async def test_one_that_answers_here_already_is_used(mosquitto: BrokerAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "PORT", mosquitto.port)
    handle = await obtain_broker(environ={})
    assert handle.kind == "found"
    assert "already answers" in handle.description


async def test_an_open_port_that_is_no_broker_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        monkeypatch.setattr(ladder, "PORT", server.sockets[0].getsockname()[1])
        handle = await obtain_broker(environ={"KEHEFL_MOSQUITTO": ""})
        assert handle.kind == "embedded"
        await handle.stop()


@pytest.mark.parametrize(("kind", "environ"), [("mosquitto", {}), ("embedded", {"KEHEFL_MOSQUITTO": ""})])
async def test_a_broker_of_our_own_serves_and_leaves_nothing(kind: str, environ: dict[str, str]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    handle = await obtain_broker(environ=environ, exclude=ONLY_OURS)
    assert handle.kind == kind
    facts = await probe(handle.address)
    assert facts.answers
    assert facts.latency_ms is not None
    folders = list(Path(tempfile.gettempdir()).glob(f"kehefl-*-{os.getpid()}-*"))
    assert folders
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
    await handle.stop()
    await handle.stop()
    assert not await answers(handle.address)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


async def test_without_any_broker_both_ways_to_get_one_are_named() -> None:
    with pytest.raises(BrokerError, match=r"(?s)apt install mosquitto.*kehefl\[embedded\]"):
        await obtain_broker(environ={"KEHEFL_MOSQUITTO": ""}, exclude=frozenset({"found", "embedded"}))


async def test_mosquitto_is_found_where_it_is_not_on_the_path() -> None:
    assert (
        find_mosquitto({"PATH": "/nowhere"}) == "/usr/sbin/mosquitto"
        or find_mosquitto({"PATH": "/nowhere"}) is not None
    )


async def test_a_port_in_use_is_told_with_what_to_do() -> None:
    program = find_mosquitto()
    assert program
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerError, match=f"did not start on port {port}: .*Choose another port"):
            await start_mosquitto(program, port)


async def test_a_mosquitto_that_does_not_start_gives_its_last_words(tmp_path: Path) -> None:
    fake = tmp_path / "mosquitto"
    fake.write_text(
        '#!/bin/sh\nlog=$(sed -n "s/^log_dest file //p" "$2")\necho "1: Error: no luck today." > "$log"\nexit 3\n'
    )
    fake.chmod(0o755)
    with pytest.raises(BrokerError, match="no luck today"):
        await start_mosquitto(str(fake))


PARENT = """
import asyncio, sys
from kehefl.transport.broker import obtain_broker
async def main():
    handle = await obtain_broker(environ={environ}, exclude={{"found"}})
    print(handle.address.port, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("environ", [{}, {"KEHEFL_MOSQUITTO": ""}], ids=["mosquitto", "embedded"])
async def test_the_child_dies_with_a_parent_that_is_killed_and_its_folder_is_swept(environ: dict[str, str]) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT.format(environ=environ), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(20):
        port = int(await parent.stdout.readline())
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 1
    assert await answers(BrokerAddress(host="127.0.0.1", port=port))
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    assert alive == []
    left = list(Path(tempfile.gettempdir()).glob(f"kehefl-*-{parent.pid}-*"))
    assert left, "nobody could clean up"
    handle = await obtain_broker(environ={}, exclude=ONLY_OURS)
    await handle.stop()
    assert not any(folder.exists() for folder in left)


async def test_what_does_not_answer_is_said_by_the_probe() -> None:
    facts = await probe(BrokerAddress(host="127.0.0.1", port=free_port()), 1.0)
    assert not facts.answers
    assert "127.0.0.1" in facts.reason
