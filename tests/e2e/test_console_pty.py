"""The console on a real (pseudo-)terminal: bursts of keys, colours, hostile texts, sizes, and how it ends.

Pilot hands keys over one by one; only a terminal shows what happens when they come in one packet.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scripts.picture import Terminal, keys

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the console with a scene; every terminal is closed at the end."""
    opened: list[Terminal] = []

    def begin(*arguments: str, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None) -> Terminal:
        command = [sys.executable, "-m", "tests.unit.tui.stage", *arguments, "--executed", str(tmp_path / "executed")]
        terminal = Terminal(command, columns=columns, lines=lines, env={"NO_COLOR": "", **(env or {})})
        opened.append(terminal)
        return terminal

    yield begin
    for terminal in opened:
        terminal.close()


def executed(tmp_path: Path) -> list[str]:
    """Lines that reached the core so far."""
    path = tmp_path / "executed"
    return path.read_text().splitlines() if path.exists() else []


def quit_and_read(terminal: Terminal, tmp_path: Path) -> list[str]:
    """Leave in good order (so that everything sent was handled) and say what reached the core."""
    terminal.send("q")
    assert terminal.wait_end() == 0
    lines = executed(tmp_path)
    assert lines[-1:] == ["closed"], "the core's context was not left"
    return lines[:-1]


def test_a_burst_that_looks_like_hotkeys_stays_in_the_bar(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(":run ab")
    terminal.wait(":run abort")  # The rest is the suggestion.
    assert "Abort the run?" not in terminal.text()
    terminal.send(keys("<Esc>"))
    terminal.wait(":cmd")
    assert quit_and_read(terminal, tmp_path) == []


def test_a_burst_with_tab_and_enter_completes_and_leaks_nothing(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(keys(":run ab<Tab><Enter>"))
    terminal.wait("Abort the run?")
    terminal.wait("[ Cancel ]")
    terminal.send("\r")
    terminal.wait("cancelled, nothing was changed")
    assert quit_and_read(terminal, tmp_path) == []


def test_a_wrong_line_in_a_burst_is_kept_and_its_keys_reach_nothing(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(keys(":round ab<Tab><Enter>"))
    terminal.wait("'round' cannot 'ab'")
    assert ":round ab" in terminal.text()
    terminal.send("xpq")
    terminal.wait(":round abxpq")
    terminal.send(b"\x03")
    terminal.wait(":cmd")
    assert quit_and_read(terminal, tmp_path) == []


def test_keys_after_enter_in_one_burst_reach_what_is_there_then(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(keys(":export csv<Enter>jjj<Enter>"))
    terminal.wait("Devices › pi-04")
    terminal.send(keys("<Esc>/pi-0<Enter>:device ping pi-02<Enter>"))
    terminal.wait("ping: pi-02")
    assert quit_and_read(terminal, tmp_path) == ["export csv", "device ping pi-02"]


def test_ctrl_c_says_what_stops_and_stops_nothing(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(b"\x03\x03\x03")
    terminal.wait("Ctrl+C stops nothing here")
    assert quit_and_read(terminal, tmp_path) == []


def test_without_colour_nothing_is_coloured_and_the_cursor_is_seen(start: Start, tmp_path: Path) -> None:
    terminal = start("run", env={"NO_COLOR": "1"})
    terminal.wait("pi-08")
    terminal.settle()
    cells = [cell for row in terminal.screen.buffer.values() for cell in row.values()]
    assert {(cell.fg, cell.bg) for cell in cells} == {("default", "default")}
    assert any(cell.reverse and cell.data == "p" for cell in cells), "the cursor's row does not stand out"
    assert "● ready" in terminal.text() and "▶ training" in terminal.text()
    terminal.send(":x")
    terminal.wait(":x")
    assert quit_and_read_from_bar(terminal, tmp_path) == []


def quit_and_read_from_bar(terminal: Terminal, tmp_path: Path) -> list[str]:
    terminal.send(b"\x03")
    terminal.wait(":cmd")
    return quit_and_read(terminal, tmp_path)


def test_hostile_texts_neither_crash_nor_style_nor_reach_the_terminal(start: Start, tmp_path: Path) -> None:
    terminal = start("hostile", columns=160, lines=45)
    terminal.wait("[bold red]pi[/]")
    terminal.settle()
    for sequence in (b"\x1b]0;owned", b"\x1b[31m", "\u202e".encode(), "\u200b".encode()):
        assert sequence not in terminal.written
    for line in terminal.screen.display[2:-2]:
        assert line.rstrip()[-1:] in {"│", "╮", "╯"}, f"a hostile text moved the border: {line!r}"
    terminal.send("G\r")
    terminal.wait("Devices ›")
    assert quit_and_read(terminal, tmp_path) == []


def test_a_terminal_too_small_says_the_sizes_and_growing_brings_everything_back(start: Start, tmp_path: Path) -> None:
    terminal = start("run", columns=50, lines=12)
    terminal.wait("60x16")
    assert "50x12" in terminal.text()
    terminal.resize(80, 24)
    terminal.wait("pi-08")
    terminal.resize(160, 45)
    terminal.wait("Metrics")
    assert quit_and_read(terminal, tmp_path) == []


def test_sigterm_stops_the_core_and_restores_the_terminal(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    before = termios.tcgetattr(terminal._fd)
    terminal.wait("pi-08")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait_end() == 128 + signal.SIGTERM
    assert executed(tmp_path) == ["closed"]
    assert_restored(terminal, before)


def test_a_terminal_that_goes_away_stops_the_core(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.hang_up()
    assert terminal.wait_end() != 0
    assert executed(tmp_path) == ["closed"]


def test_a_fault_of_kehefl_restores_the_terminal_and_is_told(start: Start) -> None:
    terminal = start("fault")
    assert terminal.wait_end() == 1
    assert b"\x1b[?1049l" in terminal.written
    told = bytes(terminal.written).rpartition(b"\x1b[?1049l")[2].decode()
    assert "RuntimeError: a fault of kehefl" in told
    assert "locals" not in told


def test_what_cannot_start_is_a_picture_and_q_leaves(start: Start) -> None:
    terminal = start("no-broker")
    terminal.wait("kehefl could not start")
    shown = terminal.text()
    assert "mosquitto is not installed" in shown
    assert "Traceback" not in shown
    terminal.send("q")
    assert terminal.wait_end() == 1


def test_ascii_draws_no_other_character(start: Start, tmp_path: Path) -> None:
    terminal = start("run", "--ascii", columns=160, lines=45)
    terminal.wait("pi-08")
    terminal.settle()
    assert terminal.text().isascii()
    assert quit_and_read(terminal, tmp_path) == []


def test_history_is_kept_across_runs_for_its_owner_alone(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    terminal = start("run", "--history", str(path))
    terminal.wait("pi-08")
    terminal.send(":runs\r")
    terminal.wait("run-0002")
    terminal.send("q")
    assert terminal.wait_end() == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    again = start("run", "--history", str(path))
    again.wait("pi-08")
    again.send(keys(":<Up>"))
    again.wait(":runs")


def test_y_sends_the_device_to_the_terminals_clipboard(start: Start, tmp_path: Path) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send("jy")
    terminal.wait("clipboard (OSC 52): pi-02")
    assert b"\x1b]52;c;cGktMDI=\x07" in terminal.written
    assert quit_and_read(terminal, tmp_path) == []


@pytest.mark.parametrize(
    "key", ["\x1b[A", "\x1bOA", "\x1b[1;2P", "\x1b[200~x:q\n\x1b[201~", "\x1bx", "\x13", "\x11", "\x02", "\x01"]
)
def test_odd_keys_do_nothing(start: Start, tmp_path: Path, key: str) -> None:
    terminal = start("run")
    terminal.wait("pi-08")
    terminal.send(key)
    terminal.send(":")
    terminal.wait(lambda shown: shown.splitlines()[-1].startswith(" :"))
    assert "Abort" not in terminal.text()
    assert quit_and_read_from_bar(terminal, tmp_path) == []


def assert_restored(terminal: Terminal, before: list[object]) -> None:
    """Main screen, visible cursor, no mouse, and the line discipline as it was."""
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l"):
        assert sequence in terminal.written
    assert termios.tcgetattr(terminal._fd)[:4] == before[:4]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_a_thousand_devices_twice_a_second_cost_little(start: Start, size: tuple[int, int]) -> None:
    """At most 5% of a core and 40 KB/s; prints its figures (run with -m slow -s)."""
    begun = time.monotonic()
    terminal = start("storm", "--devices", "1000", columns=size[0], lines=size[1])
    terminal.wait("starting")
    first_paint_s = time.monotonic() - begun
    terminal.wait("pi-01")
    read_for(terminal, 4.0)
    process = psutil.Process(terminal.pid)
    cpu, written, since = sum(process.cpu_times()[:2]), len(terminal.written), time.monotonic()
    read_for(terminal, 10.0)
    lasted = time.monotonic() - since
    share = (sum(process.cpu_times()[:2]) - cpu) / lasted
    rate = (len(terminal.written) - written) / lasted
    print(f"{size}: first paint {first_paint_s:.2f} s, {share:.1%} of a core, {rate / 1000:.1f} KB/s")
    assert first_paint_s < 1.0
    assert share < 0.05
    assert rate < 40_000


def read_for(terminal: Terminal, seconds: float) -> None:
    """Take what the console writes, as a terminal would, for a time that is measured over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        terminal.read(0.1)
