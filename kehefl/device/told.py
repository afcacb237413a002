"""What a device tells its own operator: one line an event, or JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Kind = Literal["link", "born", "round", "training", "sent", "idle", "refused", "rejected", "recording", "stopped"]


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a device. `text` is the sentence for a person; the rest is for programs."""

    device: str
    kind: Kind
    text: str
    run: str = ""
    round: int = 0
    loss: float | None = None


Tell = Callable[[Told], None]


def silent(_: Told) -> None:
    """Tells nobody."""
