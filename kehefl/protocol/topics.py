"""Topic names of protocol v1: built and taken apart in one place."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kehefl.errors import UsageError

PROTOCOL_VERSION: Final = 1
DEFAULT_PREFIX: Final = "kehefl"
DEFAULT_FEDERATION: Final = "default"

_ID = re.compile(r"[a-z0-9-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,7}")


def check_id(value: str, what: str = "device id") -> str:
    """Return `value` if it can be a device id or federation name (`[a-z0-9-]{1,64}`); UsageError if not."""
    if _ID.fullmatch(value):
        return value
    suggestion = re.sub(r"[^a-z0-9-]+", "-", value.lower()).strip("-")[:64]
    hint = f", for example '{suggestion}'" if suggestion else ""
    raise UsageError(f"'{value[:80]}' cannot be a {what}: use 1 to 64 lower-case letters, digits and hyphens{hint}.")


class DeviceTopic(NamedTuple):
    """A topic below `device/<id>/`: `rest` is what follows, without its first level (`kind`)."""

    device: str
    kind: str
    rest: tuple[str, ...]


class Topics:
    """Every topic of one federation, below `<prefix>/v1/<federation>/`."""

    def __init__(self, federation: str = DEFAULT_FEDERATION, prefix: str = DEFAULT_PREFIX) -> None:
        check_id(federation, "federation name")
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(
                f"'{prefix[:80]}' cannot be a topic prefix: use levels of letters, digits, '_', '.' and '-' "
                "joined by '/', for example 'lab/kehefl'."
            )
        self.federation = federation
        self.prefix = prefix
        self.base = f"{prefix}/v{PROTOCOL_VERSION}/{federation}/"
        self.round = self.base + "round"
        self.server_status = self.base + "server/status"
        self.control_request = self.base + "control/request"
        self.any_device = self.base + "device/+/"
        self.any_model = self.base + "model/+/+"
        self._device_base = self.base + "device/"
        self._model_base = self.base + "model/"

    def device_status(self, device: str) -> str:
        return f"{self._device_base}{device}/status"

    def telemetry(self, device: str) -> str:
        return f"{self._device_base}{device}/telemetry"

    def command(self, device: str, verb: str) -> str:
        return f"{self._device_base}{device}/cmd/{verb}"

    def reply(self, device: str, verb: str) -> str:
        return f"{self._device_base}{device}/reply/{verb}"

    def upload(self, device: str, run: str, round_: int, part: int) -> str:
        return f"{self._device_base}{device}/up/{run}/{round_}/{part}"

    def model(self, digest: str, part: int) -> str:
        return f"{self._model_base}{digest}/{part}"

    def control_reply(self, correlation: str) -> str:
        return f"{self.base}control/reply/{correlation}"

    def parse_device(self, topic: str) -> DeviceTopic | None:
        """The device, kind and rest of a topic below `device/`; None for any other topic."""
        if not topic.startswith(self._device_base):
            return None
        levels = topic[len(self._device_base) :].split("/")
        if len(levels) < 2:
            return None
        return DeviceTopic(levels[0], levels[1], tuple(levels[2:]))

    def parse_model(self, topic: str) -> tuple[str, int] | None:
        """The digest and part number of a model topic; None for any other topic."""
        if not topic.startswith(self._model_base):
            return None
        digest, _, part = topic[len(self._model_base) :].partition("/")
        return (digest, int(part)) if part.isascii() and part.isdigit() and len(part) <= 6 else None
