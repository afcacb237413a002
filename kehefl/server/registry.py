"""The devices of a federation by id: what their births, wills and telemetry say of them. No clock, no socket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from kehefl.errors import ProtocolError
from kehefl.protocol.messages import DeviceStatus
from kehefl.server.events import DeviceChanged, DeviceState

#: Births cost a server memory; nobody may fill it with them.
MOST_DEVICES: Final = 20_000


@dataclass(slots=True)
class Device:
    """A known device. `held` is the operator's decision about it: empty, `drained` or `evicted`."""

    birth: DeviceStatus
    state: DeviceState
    reason: str = ""
    held: str = ""

    @property
    def available(self) -> bool:
        """Whether rounds may count on it."""
        return not self.held and self.state in {"ready", "training", "uploading"}


class Registry:
    """Devices register by being born; nobody types their names."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}

    def get(self, device: str) -> Device | None:
        return self._devices.get(device)

    def states(self) -> dict[str, str]:
        """Every known device with its state."""
        return {name: device.held or device.state for name, device in self._devices.items()}

    def available(self) -> list[str]:
        """Devices that a round may count on, sorted."""
        return sorted(name for name, device in self._devices.items() if device.available)

    def take_status(self, status: DeviceStatus) -> bool:
        """Take in a birth or a will. False when it changes nothing, as with the late will of an earlier start.

        ProtocolError when there are more devices than a server can keep track of.
        """
        known = self._devices.get(status.device)
        if status.state in {"lost", "leaving"}:
            if known is None or known.birth.boot != status.boot:
                return False
            changed = known.state != status.state
            known.state, known.reason = status.state, status.reason
            return changed
        if known is None:
            if len(self._devices) >= MOST_DEVICES:
                raise ProtocolError(f"More than {MOST_DEVICES} devices were born; evict lost ones: device evict @lost")
            self._devices[status.device] = Device(status, status.state, status.reason)
            return True
        changed = known.birth != status or known.state != status.state
        known.birth, known.state, known.reason = status, status.state, status.reason
        return changed

    def revive(self, device: str) -> bool:
        """A lost device has spoken: its will came late, or the broker forgot. True when that was so."""
        known = self._devices.get(device)
        if known is None or known.state != "lost":
            return False
        known.state, known.reason = "ready", ""
        return True

    def hold(self, device: str, decision: str) -> None:
        """`drained`, `evicted`, or empty to readmit."""
        self._devices[device].held = decision

    def forget(self, device: str) -> None:
        self._devices.pop(device, None)

    def common_columns(self, devices: list[str]) -> tuple[tuple[str, ...], str]:
        """Features and target that most of `devices` have (the first in order when there is a tie)."""
        columns = Counter(
            (self._devices[name].birth.features, self._devices[name].birth.target)
            for name in devices
            if self._devices[name].birth.features
        )
        return columns.most_common(1)[0][0] if columns else ((), "")

    def event(self, device: str) -> DeviceChanged:
        """The present state of a device as an event."""
        known = self._devices[device]
        birth = known.birth
        state: DeviceState = known.held or known.state  # type: ignore[assignment]
        return DeviceChanged(
            device=device,
            state=state,
            reason=known.reason,
            boot=birth.boot,
            software=birth.software,
            board=birth.board,
            process=birth.process,
            source=birth.source,
            simulated=birth.simulated,
            features=birth.features,
            target=birth.target,
            rows_train=birth.rows_train,
            rows_test=birth.rows_test,
            data_digest=birth.data_digest,
            notes=birth.notes,
        )
