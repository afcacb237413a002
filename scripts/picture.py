r"""Take a picture of a terminal program: run it in a pseudo-terminal, press keys, write its real grid as SVG and PNG.

    python scripts/picture.py --size 160x45 --out docs/console --wait 'dev 6/6' \
        --keys ':run start federated rounds=20 pace=0.4<Enter>' --wait 'r 12/20' -- kehefl-console --demo 6

Steps (`--wait`, `--keys`) are taken in the order given. A wait has a limit and ends as soon as its text is on the
screen; nothing sleeps. The same terminal serves the tests.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pyte

WAIT_LIMIT_S: Final = 30.0
#: After the last condition the screen may still be half drawn; it is quiet when nothing came for this long.
QUIET_S: Final = 0.25
KEYS: Final = {
    "Enter": "\r", "Esc": "\x1b", "Tab": "\t", "Up": "\x1b[A", "Down": "\x1b[B", "Right": "\x1b[C", "Left": "\x1b[D",
    "Backspace": "\x7f", "PgUp": "\x1b[5~", "PgDn": "\x1b[6~", "Home": "\x1b[H", "End": "\x1b[F", "Ctrl+C": "\x03",
    "Space": " ", "lt": "<",
}  # fmt: skip
#: Sequences that pyte would print: keyboard protocol, mode questions, device control strings.
_UNKNOWN_TO_PYTE: Final = re.compile(rb"\x1b\[[<>=][0-9;]*[A-Za-z]|\x1b\[\?[0-9;]*\$p|\x1bP[^\x1b]*\x1b\\")
CELL_WIDTH: Final = 9
CELL_HEIGHT: Final = 19
FONT_SIZE: Final = 15
_NAMED: Final = {
    "black": "#1c1c1c", "red": "#cc4b4b", "green": "#6fa86f", "brown": "#c0a050", "blue": "#5b86c0",
    "magenta": "#a078b8", "cyan": "#5aa7a7", "white": "#d0d0d0",
}  # fmt: skip


class NeverShownError(AssertionError):
    """The condition did not come true in time, or the program ended before."""


class Terminal:
    """A program in a pseudo-terminal, and the screen it drew."""

    def __init__(
        self, command: Sequence[str], *, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.written = bytearray()
        self.status: int | None = None
        wanted = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **(env or {})}
        wanted = {name: value for name, value in wanted.items() if value}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            self._fd = 0
            self._set_size(columns, lines)
            os.execvpe(command[0], list(command), wanted)
        self._set_size(columns, lines)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, keys: str | bytes) -> None:
        """All of it in one packet, as a fast typist or a paste would."""
        os.write(self._fd, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def wait(self, wanted: str | Callable[[str], bool], limit_s: float = WAIT_LIMIT_S) -> str:
        """Read until the text is on the screen (or the condition holds for it); NeverShownError after `limit_s`."""
        holds = (lambda shown: wanted in shown) if isinstance(wanted, str) else wanted
        until = time.monotonic() + limit_s
        while not holds(self.text()):
            left = until - time.monotonic()
            if left <= 0 or not self.read(min(left, 0.5)):
                what = repr(wanted) if isinstance(wanted, str) else "the condition"
                why = "the program ended" if self.status is not None else f"not within {limit_s:g} s"
                if left <= 0 or self.status is not None:
                    raise NeverShownError(f"{what}: {why}. The screen:\n{self.text()}")
        return self.text()

    def settle(self, limit_s: float = WAIT_LIMIT_S) -> None:
        """Read until nothing comes for a moment."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until and self.read(QUIET_S):
            pass

    def wait_end(self, limit_s: float = WAIT_LIMIT_S) -> int:
        """Read until the program ends; its exit status."""
        until = time.monotonic() + limit_s
        while self.status is None:
            if time.monotonic() > until:
                raise NeverShownError(f"The program did not end within {limit_s:g} s. The screen:\n{self.text()}")
            self.read(0.2)
        return self.status

    def read(self, wait_s: float) -> bool:
        """Take what is there; False when nothing came in time or the program ended."""
        if self.status is not None:
            return False
        if self._fd < 0:
            time.sleep(min(wait_s, 0.05))  # There is nothing to read any more, only an end to wait for.
            self._reap(os.WNOHANG)
            return False
        ready, _, _ = select.select([self._fd], [], [], wait_s)
        if not ready:
            self._reap(os.WNOHANG)
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            self._reap(0)
            return False
        self.written += data
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))
        return True

    def hang_up(self) -> None:
        """Take the terminal away from the program, as a broken connection does."""
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        """End the program if it still runs, and let go of the terminal."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        if self._fd >= 0:
            os.close(self._fd)

    def _reap(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def keys(text: str) -> str:
    """`:run<Enter>` as what a terminal sends."""
    return re.sub(r"<([A-Za-z+]+)>", lambda match: KEYS.get(match[1], match[0]), text)


def colours(cell: Any, ground: str, ink: str) -> tuple[str, str]:
    """Foreground and background of a cell as `#rrggbb`."""

    def plain(name: str, default: str) -> str:
        if name == "default":
            return default
        return "#" + name if re.fullmatch("[0-9a-f]{6}", name) else _NAMED.get(name.removeprefix("bright"), default)

    front, back = plain(cell.fg, ink), plain(cell.bg, ground)
    return (back, front) if cell.reverse else (front, back)


def _rows(screen: pyte.Screen) -> list[list[Any]]:
    return [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]


def svg(screen: pyte.Screen, ground: str = "#101418", ink: str = "#d0d0d0") -> str:
    """The grid as SVG: text stays text, every run of one style has the width of its cells."""
    width, height = screen.columns * CELL_WIDTH + 24, screen.lines * CELL_HEIGHT + 24
    frame = colours(screen.buffer[0][0], ground, ink)[1]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" rx="10" fill="{frame}"/>',
        f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT_SIZE}" xml:space="preserve">',
    ]
    for y, row in enumerate(_rows(screen)):
        x = 0
        while x < len(row):
            end, style = x + 1, (colours(row[x], ground, ink), row[x].bold)
            while end < len(row) and (colours(row[end], ground, ink), row[end].bold) == style:
                end += 1
            text = "".join(cell.data for cell in row[x:end])
            (front, back), bold = style
            left, top, cells = 12 + x * CELL_WIDTH, 12 + y * CELL_HEIGHT, (end - x) * CELL_WIDTH
            if back != frame:
                out.append(f'<rect x="{left}" y="{top}" width="{cells}" height="{CELL_HEIGHT}" fill="{back}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if bold else ""
                out.append(
                    f'<text x="{left}" y="{top + CELL_HEIGHT - 5}" fill="{front}"{weight} textLength="{cells}" '
                    f'lengthAdjust="spacingAndGlyphs">{html.escape(text)}</text>'
                )
            x = end
    return "\n".join([*out, "</g>", "</svg>", ""])


def png(screen: pyte.Screen, path: Path, ground: str = "#101418", ink: str = "#d0d0d0", scale: int = 2) -> None:
    """The grid as PNG. Blocks, shades and braille are drawn, so that they meet whatever the font."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = CELL_WIDTH * scale, CELL_HEIGHT * scale
    fonts = [ImageFont.truetype(name, FONT_SIZE * scale) for name in ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")]
    frame = colours(screen.buffer[0][0], ground, ink)[1]
    image = Image.new("RGB", (screen.columns * width + 24 * scale, screen.lines * height + 24 * scale), frame)
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(_rows(screen)):
        for x, cell in enumerate(row):
            front, back = colours(cell, ground, ink)
            left, top = 12 * scale + x * width, 12 * scale + y * height
            if back != frame:
                cells = 2 if unicodedata.east_asian_width(cell.data[:1] or " ") in "WF" else 1
                draw.rectangle((left, top, left + cells * width - 1, top + height - 1), fill=back)
            char = cell.data
            if not char.strip():
                continue
            if not _drawn(draw, char, (left, top, width, height), front, back):
                draw.text((left, top + 1 * scale), char, fill=front, font=fonts[bool(cell.bold)])
    image.save(path)


def _drawn(draw: Any, char: str, box: tuple[int, int, int, int], front: str, back: str) -> bool:
    """Draw a block, a shade, a braille or a straight box character; False for all others."""
    left, top, width, height = box
    code = ord(char[0])
    if 0x2581 <= code <= 0x2588:
        draw.rectangle(
            (left, top + height - height * (code - 0x2580) // 8, left + width - 1, top + height - 1), fill=front
        )
    elif char in "░▒▓":
        shade = _mix(front, back, "░▒▓".index(char))
        draw.rectangle((left, top + height // 8, left + width - 1, top + height - height // 8), fill=shade)
    elif char in "▚▞":
        half = left + width // 2
        first, second = ((left, half), (half, left + width)) if char == "▚" else ((half, left + width), (left, half))
        draw.rectangle((first[0], top + height // 8, first[1] - 1, top + height // 2), fill=front)
        draw.rectangle((second[0], top + height // 2, second[1] - 1, top + height - height // 8), fill=front)
    elif 0x2800 <= code <= 0x28FF:
        for bit, (column, row) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
            if (code - 0x2800) >> bit & 1:
                x, y = left + width * (1 + 2 * column) // 4, top + height * (1 + 2 * row) // 8
                size = max(1, width // 9)
                draw.ellipse((x - size, y - size, x + size, y + size), fill=front)
    elif char in "─│╭╮╰╯":
        _box_line(draw, char, box, front)
    else:
        return False
    return True


def _box_line(draw: Any, char: str, box: tuple[int, int, int, int], front: str) -> None:
    left, top, width, height = box
    x, y, stroke = left + width // 2, top + height // 2, max(1, width // 9)
    if char == "─":
        draw.rectangle((left, y, left + width - 1, y + stroke - 1), fill=front)
    elif char == "│":
        draw.rectangle((x, top, x + stroke - 1, top + height - 1), fill=front)
    else:
        right, down = char in "╭╰", char in "╭╮"
        radius = width // 2
        centre_x, centre_y = x + (radius if right else -radius), y + (radius if down else -radius)
        start = {"╭": 180, "╮": 270, "╰": 90, "╯": 0}[char]
        draw.arc(
            (centre_x - radius, centre_y - radius, centre_x + radius + stroke - 1, centre_y + radius + stroke - 1),
            start, start + 90, fill=front, width=stroke,
        )  # fmt: skip
        if down:
            draw.rectangle((x, y + radius, x + stroke - 1, top + height - 1), fill=front)
        else:
            draw.rectangle((x, top, x + stroke - 1, y - radius), fill=front)


def _mix(front: str, back: str, step: int) -> str:
    share = (0.3, 0.5, 0.75)[step]
    pairs = [(int(front[i : i + 2], 16), int(back[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(b + (f - b) * share):02x}" for f, b in pairs)


class _Step(argparse.Action):
    """Collects `--wait` and `--keys` in the order given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.steps = [*namespace.steps, (self.dest, values)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="80x24", metavar="COLUMNSxLINES")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix; .svg and .png are added")
    parser.add_argument("--wait", action=_Step, metavar="TEXT", help="until this regular expression is on the screen")
    parser.add_argument("--keys", action=_Step, metavar="KEYS", help="to press, such as :run<Enter>")
    parser.add_argument("--limit", type=float, default=WAIT_LIMIT_S, metavar="SECONDS", help="of each wait")
    parser.add_argument("--no-png", action="store_true", help="SVG alone, for which no font is needed")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="+")
    parser.set_defaults(steps=[])
    given = parser.parse_args()
    columns, _, lines = given.size.partition("x")
    env = dict(pair.split("=", 1) for pair in given.env)
    with Terminal(given.command, columns=int(columns), lines=int(lines), env=env) as terminal:
        try:
            for kind, value in given.steps:
                if kind == "keys":
                    terminal.send(keys(value))
                else:
                    terminal.wait(lambda shown, wanted=value: re.search(wanted, shown) is not None, given.limit)
            terminal.settle(3.0)
        except NeverShownError as error:
            print(error, file=sys.stderr)
            return 1
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.with_suffix(".svg").write_text(svg(terminal.screen), encoding="utf-8")
        if not given.no_png:
            png(terminal.screen, given.out.with_suffix(".png"))
        # In good order, so that a broker and devices started by the program end with it.
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.wait_end(given.limit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
