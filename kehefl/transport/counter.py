"""The byte counter of a link: every PUBLISH packet, to the byte, by direction and class of topic."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Direction = Literal["sent", "received"]

_DEVICE_CLASSES: Final = frozenset({"status", "telemetry", "cmd", "reply", "up"})
_SHARED_CLASSES: Final = frozenset({"round", "model", "server", "control"})
#: Topics whose class is remembered: those of a device all fit, and a server's memory stays bounded.
REMEMBERED_TOPICS: Final = 4096


class Traffic(NamedTuple):
    """Totals in bytes; `by_class` maps a topic class to (sent packets, received packets, sent payload, received
    payload), all in bytes."""

    sent_packet_bytes: int
    received_packet_bytes: int
    sent_payload_bytes: int
    received_payload_bytes: int
    by_class: dict[str, tuple[int, int, int, int]]


class ByteCounter:
    """Counts the PUBLISH packets of one link, both ways; acknowledgements and pings are not part of it."""

    def __init__(self) -> None:
        self._cells: dict[str, list[int]] = {}
        self._class_of: dict[str, str] = {}

    def add(self, direction: Direction, topic: str, payload_bytes: int, packet_bytes: int) -> None:
        """Count one packet."""
        name = self._class_of.get(topic)
        if name is None:
            name = topic_class(topic)
            if len(self._class_of) >= REMEMBERED_TOPICS:
                self._class_of.clear()
            self._class_of[topic] = name
        cell = self._cells.setdefault(name, [0, 0, 0, 0])
        index = 0 if direction == "sent" else 1
        cell[index] += packet_bytes
        cell[index + 2] += payload_bytes

    def snapshot(self) -> Traffic:
        """The totals so far."""
        cells = self._cells.values()
        sent, received, sent_payload, received_payload = (sum(cell[index] for cell in cells) for index in range(4))
        return Traffic(
            sent,
            received,
            sent_payload,
            received_payload,
            {name: (cell[0], cell[1], cell[2], cell[3]) for name, cell in self._cells.items()},
        )


def topic_class(topic: str) -> str:
    """`status`, `telemetry`, `cmd`, `reply`, `up`, `round`, `model`, `server`, `control` or `other`."""
    levels = topic.split("/")
    if "v1" not in levels:
        return "other"
    below = levels[levels.index("v1") + 2 :]
    if not below:
        return "other"
    if below[0] == "device":
        return below[2] if len(below) > 2 and below[2] in _DEVICE_CLASSES else "other"
    return below[0] if below[0] in _SHARED_CLASSES else "other"


def packet_bytes(topic_bytes: int, payload_bytes: int, qos: int, property_bytes: int) -> int:
    """Size of a PUBLISH packet (MQTT 5, section 3.3): fixed header, topic, packet identifier, properties, payload.

    `property_bytes` is 0 for MQTT 3.1.1, and includes the property length (at least 1) for MQTT 5.
    """
    remaining = 2 + topic_bytes + (2 if qos else 0) + property_bytes + payload_bytes
    length_bytes = 1 + (remaining > 127) + (remaining > 16_383) + (remaining > 2_097_151)
    return 1 + length_bytes + remaining
