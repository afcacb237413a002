"""Devices as their births, wills and the operator describe them."""

import pytest

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import DeviceStatus
from kehefl.server import registry as module
from kehefl.server.registry import Registry


def status(device: str = "pi", boot: str = "b1", state: str = "ready", **facts: object) -> DeviceStatus:
    return DeviceStatus(device=device, boot=boot, state=state, **facts)  # type: ignore[arg-type]


def test_a_late_will_of_an_earlier_start_is_ignored() -> None:
    registry = Registry()
    registry.take_status(status(boot="b1"))
    registry.take_status(status(boot="b2"))
    assert not registry.take_status(status(boot="b1", state="lost"))
    assert registry.available() == ["pi"]
    assert registry.take_status(status(boot="b2", state="lost"))
    assert registry.available() == []


def test_a_lost_device_that_speaks_is_alive() -> None:
    registry = Registry()
    registry.take_status(status())
    registry.take_status(status(state="lost"))
    assert registry.revive("pi")
    assert not registry.revive("pi")
    assert registry.available() == ["pi"]


def test_the_operators_decision_stands_whatever_the_device_says() -> None:
    registry = Registry()
    registry.take_status(status())
    registry.hold("pi", "drained")
    registry.take_status(status(boot="b2"))
    assert registry.available() == []
    assert registry.event("pi").state == "drained"
    registry.hold("pi", "")
    assert registry.available() == ["pi"]


def test_the_columns_of_a_run_are_those_of_most_devices() -> None:
    registry = Registry()
    for name, features in {"a": ("x",), "b": ("x", "y"), "c": ("x", "y"), "d": ()}.items():
        registry.take_status(status(name, features=features, target="t"))
    assert registry.common_columns(["a", "b", "c", "d"]) == (("x", "y"), "t")
    assert registry.common_columns([]) == ((), "")


def test_births_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DEVICES", 3)
    registry = Registry()
    for number in range(3):
        registry.take_status(status(f"pi-{number}"))
    with pytest.raises(ProtocolError, match="More than 3 devices"):
        registry.take_status(status("one-more"))
    registry.take_status(status("pi-1", boot="b2"))
