"""The console as an operator has it: in a real terminal (tmux), with a real broker and real device processes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.support import HERE

LIMIT_S = 20.0

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: apt install tmux")


class Tmux:
    """A console in a tmux of its own."""

    def __init__(self, columns: int, lines: int, state: Path, *arguments: str) -> None:
        self._socket = f"kehefl-test-{secrets.token_hex(4)}"
        self._columns, self._lines = columns, lines
        code = "from kehefl.cli.console import main; main()"
        program = [sys.executable, "-c", f'"{code}"', *arguments, "--state", str(state)]
        self._do(
            "-f", "/dev/null", "new-session", "-d", "-s", "k", "-x", str(columns), "-y", str(lines),
            f"cd {HERE} && {' '.join(program)}; echo LEFT $?; exec cat",
        )  # fmt: skip

    def keys(self, *keys: str) -> None:
        self._do("send-keys", "-t", "k", *keys)

    def burst(self, text: str) -> None:
        """All in one write, as a paste or a fast typist over a slow line gives it."""
        self._do("send-keys", "-t", "k", "-l", text)

    def resize(self, columns: int, lines: int) -> None:
        self._do("resize-window", "-t", "k", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        return self._do("capture-pane", "-p", "-t", "k")

    def until(self, condition: Callable[[str], object] | str) -> str:
        """The screen as soon as it fulfils the condition."""
        holds = condition if callable(condition) else lambda text: condition in text
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            text = self.screen()
            if holds(text):
                return text
            time.sleep(0.05)  # A terminal has no event to wait for; the condition above has a limit.
        raise AssertionError(f"The screen never showed it:\n{self.screen()}")

    @property
    def processes(self) -> list[psutil.Process]:
        pid = int(self._do("display-message", "-p", "-t", "k", "#{pane_pid}"))
        return psutil.Process(pid).children(recursive=True)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)

    def _do(self, *arguments: str) -> str:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, *arguments], capture_output=True, text=True, check=True, env=environment
        )
        return done.stdout


@pytest.fixture(params=[(80, 24), (160, 45)], ids=["80x24", "160x45"])
def console(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux]:
    tmux = Tmux(*request.param, tmp_path, "--demo", "3")
    try:
        tmux.until("dev 3/3")
        yield tmux
    finally:
        tmux.close()


def round_of(text: str) -> int:
    found = re.search(r" r (\d+)/\d+", text)
    return int(found.group(1)) if found else 0


def test_a_whole_session(console: Tmux) -> None:
    console.keys("s")
    console.until(lambda text: round_of(text) >= 2 and "RMSE" in text.upper())

    console.keys("p")
    paused = console.until("paused")
    at = round_of(paused)
    console.keys("p")
    console.until(lambda text: "paused" not in text and round_of(text) > at)

    console.keys("/")
    console.burst("home-02")
    console.until(lambda text: "1/3" in text and not re.search(r"^│ home-01", text, re.MULTILINE))
    console.keys("Enter")
    console.keys("/")
    console.until("home-02")
    console.keys("Escape")
    console.until(lambda text: re.search(r"^│ home-01", text, re.MULTILINE))

    console.keys("?")
    console.until(lambda text: "abort the run" in text)
    console.keys("Escape")
    console.until(lambda text: "abort the run" not in text)

    console.keys("1", "g", "Enter")
    console.until(lambda text: "home-01" in text and "load_now" in text)
    console.keys("Escape")
    console.until("home-03")

    console.keys(":")
    console.burst("device png home-01")
    console.keys("Enter")
    console.until("Did you mean 'ping'")
    console.keys("Escape")
    console.until(lambda text: ":device png" not in text)
    console.keys(":")
    console.burst("device ping home-01")
    console.keys("Enter")
    console.until("answered in")

    console.resize(100, 30)
    console.until(lambda text: "home-03" in text and len(text.splitlines()) >= 29)
    console.resize(50, 12)
    console.until("60")
    console.resize(120, 40)
    console.until("home-03")

    console.keys("x")
    console.until("Cancel")
    console.keys("Enter")
    assert "abort" not in console.until(lambda text: "Cancel" not in text).splitlines()[0]
    console.keys("x", "Tab", "Enter")
    console.until("aborted")

    processes = console.processes
    assert len(processes) >= 3, "the console, its broker, its devices"
    console.keys("q")
    console.until("LEFT 0")
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == [], "q leaves nothing running"


def test_a_burst_aborts_nothing_by_accident(console: Tmux) -> None:
    console.keys("s")
    console.until(lambda text: round_of(text) >= 1)
    console.burst(":run ab")
    text = console.until(":run ab")
    assert "Cancel" not in text
    console.keys("Escape")
    text = console.until(lambda screen: ":run ab" not in screen)
    assert "abort" not in text.splitlines()[0]
    console.burst(":round set deadline=9s\r")
    console.until("deadline 9 s")
    before = round_of(console.screen())
    console.until(lambda screen: round_of(screen) > before)
