"""Where the run log and the checkpoints lie when nobody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def default_state(environ: Mapping[str, str] = os.environ) -> Path:
    """`KEHEFL_STATE`, else `$XDG_STATE_HOME/kehefl`, else `~/.local/state/kehefl`."""
    if given := environ.get("KEHEFL_STATE"):
        return Path(given).expanduser()
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "kehefl"
    return Path.home() / ".local" / "state" / "kehefl"
