"""Fixtures for tests on real parts: a mosquitto of our own, a federation that no other test uses, a state directory."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from kehefl.transport.address import BrokerAddress
from kehefl.transport.mosquitto import find_mosquitto, start_mosquitto


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[BrokerAddress]:
    """A real mosquitto with the settings of a managed one, for the whole session."""
    program = find_mosquitto()
    assert program, "These tests need mosquitto. Install it: apt install mosquitto"
    loop = asyncio.new_event_loop()
    address, stop = loop.run_until_complete(start_mosquitto(program))
    yield address
    loop.run_until_complete(stop())
    loop.close()


@pytest.fixture
def federation() -> str:
    """A name that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own broker or state is used or touched."""
    monkeypatch.delenv("KEHEFL_BROKER", raising=False)
    monkeypatch.setenv("KEHEFL_STATE", str(tmp_path / "state"))


# Examples that differ from run to run find faults on the developer's machine, where `pytest` explores; where a change is
# judged, the same code must give the same verdict.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
