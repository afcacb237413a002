"""State as glyph, word and tone: never by colour alone."""

from __future__ import annotations

from typing import Final

from kehefl.tui.records import Device, Round

#: (glyph, word, tone) of a device's state.
DEVICE: Final = {
    "ready": ("●", "ready", "good"),
    "training": ("▶", "training", "accent"),
    "uploading": ("▲", "sending", "info"),
    "leaving": ("◌", "leaving", "dim"),
    "lost": ("✗", "lost", "bad"),
    "drained": ("◇", "drained", "warn"),
    "evicted": ("⊘", "evicted", "dim"),
}
LINK: Final = {
    "unknown": ("◌", "starting", "dim"),
    "connecting": ("◌", "connecting", "warn"),
    "up": ("●", "up", "good"),
    "lost": ("✗", "lost", "bad"),
    "refused": ("⊘", "refused", "bad"),
    "closed": ("○", "closed", "dim"),
}
RUN: Final = {
    "running": ("▶", "running", "accent"),
    "paused": ("‖", "paused", "warn"),
    "done": ("✓", "done", "good"),
    "failed": ("✗", "failed", "bad"),
    "aborted": ("⊘", "aborted", "warn"),
    "interrupted": ("◌", "interrupted", "warn"),
}
SCENARIO: Final = {"federated": "S1 federated", "centralized": "S2 centralized", "local": "S3 local"}
#: (block, word, tone) of the parts of a round, in order.
PHASES: Final = {
    "announce": ("░", "announce", "dim"),
    "train": ("█", "train", "accent"),
    "collect": ("▓", "collect", "info"),
    "aggregate": ("▚", "aggregate", "violet"),
    "evaluate": ("▞", "evaluate", "good"),
}
#: The phases of the event stream, by the part of the timeline that they belong to.
PHASE_PART: Final = {
    "announced": "announce",
    "training": "train",
    "collecting": "collect",
    "aggregating": "aggregate",
    "evaluating": "evaluate",
}
ANSWER: Final = {
    "": (" ", "", "dim"),
    "asked": ("▶", "asked", "accent"),
    "sent": ("✓", "sent", "good"),
    "late": ("✓", "late", "warn"),
    "missed": ("✗", "missed", "bad"),
    "refused": ("⊘", "refused", "warn"),
}


def device_state(device: Device) -> tuple[str, str, str]:
    return DEVICE.get(device.doing, ("?", device.doing, "warn"))


def round_name(round_: Round) -> str:
    """Round 0 gathers statistics and the last one only evaluates: they say so in place of a number."""
    attempt = f"·{round_.attempt}" if round_.attempt > 1 else ""
    return {"statistics": "stats", "evaluate": "eval"}.get(round_.task, f"r{round_.number}") + attempt
