"""What all panes share: the store, the time of the tick, the look, and where the operator is. One object, one owner."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from kehefl.tui.records import Device
from kehefl.tui.store import Store


@dataclass
class Desk:
    """`now` is set by the tick alone, so that a picture shows one moment."""

    store: Store = field(default_factory=Store)
    theme: str = "dark"
    ascii_only: bool = False
    read_only: bool = False
    note: str = ""
    now: float = 0.0
    focus: str = "devices"
    lower: str = "rounds"
    wide: bool = False
    zoomed: bool = False
    #: What is being done before the core is there, why it never will be, or that it is being stopped.
    starting: str = "starting"
    fault: str = ""
    stopping: str = ""
    #: The filter as typed, the column to order by, and the devices that are marked.
    filter: str = ""
    sort: str = "device"
    descending: bool = False
    marked: set[str] = field(default_factory=set)
    known: Callable[[str], Collection[str]] = lambda kind: ()

    @property
    def cut_off(self) -> bool:
        """The broker was there and is not: what is shown is what was last known."""
        link = self.store.link
        return link.ever_up and link.state != "up"

    def states(self) -> dict[str, str]:
        """Every known device and its state, as `commands.select_devices` takes them."""
        return {name: device.state for name, device in self.store.devices.items()}

    def devices(self) -> list[Device]:
        return [*self.store.devices.values()]
