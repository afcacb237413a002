"""The look: what each tone means, in dark, light and without colour. A tone is a role, never a colour name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

#: Colour of each tone by theme. `ground` is behind everything, `mark` behind the cursor's row.
COLOURS: Final[Mapping[str, Mapping[str, str]]] = {
    "dark": {
        "ground": "#0f141a", "mark": "#22303d", "text": "#c8d0d8", "dim": "#8793a0", "faint": "#4c5866",
        "border": "#34404d", "focus": "#57b5ad", "title": "#e6ebf0", "accent": "#57b5ad", "info": "#7aaee0",
        "good": "#8fc07f", "warn": "#e0b062", "bad": "#ea7179", "violet": "#b79ad6", "deep": "#2f6c6a",
    },
    "light": {
        "ground": "#fbfaf6", "mark": "#dfe9ec", "text": "#2d353d", "dim": "#66707b", "faint": "#b3bac1",
        "border": "#cdd2d6", "focus": "#12807a", "title": "#14191e", "accent": "#12807a", "info": "#2b69ad",
        "good": "#3b7a35", "warn": "#9a5f06", "bad": "#be342c", "violet": "#77509a", "deep": "#8dbfba",
    },
}  # fmt: skip
THEMES: Final = tuple(COLOURS)
#: For terminals of sixteen colours: their own, on their own ground, which may be dark or light.
_BASIC: Final[Mapping[str, str]] = {
    "dim": "bright_black", "faint": "bright_black", "border": "bright_black", "focus": "cyan", "accent": "cyan",
    "info": "blue", "good": "green", "warn": "yellow", "bad": "red", "violet": "magenta", "deep": "cyan",
}  # fmt: skip
#: Looks that leave the terminal's own ground: `none` without any colour, `basic` with its sixteen.
PLAIN: Final = ("none", "basic")
#: Drawn with their own ink, so that reversing them on the cursor's row would wipe them out.
_SOLID: Final = frozenset("█▓▒░▚▞━╌▇▆▅▄▃▂▁")
_BOLD: Final = frozenset({"title", "key"})


def is_solid(text: str) -> bool:
    """Whether a piece is drawn of blocks."""
    return text[:1] in _SOLID


@lru_cache(maxsize=512)
def style(tone: str, theme: str, *, marked: bool = False) -> Style:
    """The style of a tone. A leading `*` makes it bold; `none` has attributes alone (NO_COLOR)."""
    bold = tone.startswith("*") or tone in _BOLD
    name = tone.lstrip("*")
    if theme in PLAIN:
        stress = bold or (theme == "none" and name in {"bad", "warn"})
        colour = {"key": "cyan"}.get(name, _BASIC.get(name)) if theme == "basic" else None
        return Style(color=None if marked else colour, bold=stress or None, reverse=marked or name == "cursor" or None)
    colours = COLOURS[theme]
    if name == "cursor":
        return Style(color=colours["ground"], bgcolor=colours["focus"], bold=bold or None)
    name = {"key": "accent"}.get(name, name)
    return Style(color=colours[name], bgcolor=colours["mark" if marked else "ground"], bold=bold or None)


def textual_theme(name: str) -> Theme:
    """The theme for what Textual itself paints (the ground behind the panes)."""
    if name in PLAIN:
        return Theme(
            name=f"kehefl-{name}", ansi=True, primary="ansi_default", background="ansi_default",
            foreground="ansi_default", surface="ansi_default", panel="ansi_default", boost="ansi_default",
            variables=BUILTIN_THEMES["ansi-dark"].variables,
        )  # fmt: skip
    colours = COLOURS[name]
    return Theme(
        name=f"kehefl-{name}", dark=name == "dark", primary=colours["accent"], background=colours["ground"],
        foreground=colours["text"], surface=colours["ground"], panel=colours["ground"], warning=colours["warn"],
        error=colours["bad"], success=colours["good"], accent=colours["accent"],
    )  # fmt: skip
