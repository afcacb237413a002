"""The console driven key by key, asserting on its state and on what its panes say. Time stands still."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from kehefl.errors import BrokerError
from kehefl.server import events as e
from kehefl.tui.app import ConsoleApp
from tests.unit.tui.fake import Clock, FakeCore, born, link_up, play, telemetry

SMALL, LARGE = (80, 24), (160, 45)


@contextlib.asynccontextmanager
async def running(
    core: FakeCore, clock: Clock, size: tuple[int, int] = SMALL, **options: object
) -> AsyncIterator[tuple[ConsoleApp, Pilot[int]]]:
    """The console after it took the core; its own tick is slowed down, tests tick by hand."""
    app = ConsoleApp(core.open, clock=clock, refresh_s=1000.0, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: not app.desk.starting)
        yield app, pilot


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; fails after a bounded number of turns."""
    for _ in range(500):
        if holds():
            return
        await pilot.pause()
    raise AssertionError("the condition did not come true")


def shown(app: ConsoleApp) -> str:
    """Everything that the displayed panes say."""
    panes = [pane for pane in app.console_screen.all_panes() if pane.display and pane.region.width]
    return "\n".join(line for pane in panes for line in pane.text())


async def typed(pilot: Pilot[int], text: str) -> None:
    """All of it at once, as a fast typist does."""
    names = {":": "colon", "/": "slash", " ": "space", "=": "equals_sign", "-": "minus", "@": "at"}
    for char in text:
        pilot.app.post_message(events.Key(names.get(char, char), char))
    await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE, (100, 30), (60, 16), (220, 60)])
async def test_the_main_screen_is_complete_at_every_size(size: tuple[int, int]) -> None:
    core, clock = play()
    async with running(core, clock, size) as (app, _):
        text = shown(app)
        for expected in ("broker up", "S1 federated", "10/20 train", "dev 8/8", "rmse", "Devices 8/8", "Rounds 9/20"):
            assert expected in text
        assert all(len(line) == size[0] for line in app.console_screen.status.text())
        for pane in (app.console_screen.metrics, app.console_screen.log_pane, app.console_screen.run_card):
            assert bool(pane.display and pane.region.area) == (size[0] >= 120 and size[1] >= 32)


async def test_statistics_and_evaluation_rounds_are_shown_as_such() -> None:
    core, clock = play(done=1)
    async with running(core, clock) as (app, _):
        assert "stats" in shown(app)
        opened = e.RoundOpened(run="run-0003", round=21, attempt=1, task="evaluate", cohort=("pi-01",), needed=1,
                               deadline_s=9.0)  # fmt: skip
        core.emit(opened)
        app.tick()
        assert "eval" in app.console_screen.status.text()[0]


async def test_keys_move_the_cursor_and_it_follows_its_device() -> None:
    core, clock = play(devices=40)
    async with running(core, clock) as (app, pilot):
        table = app.console_screen.devices
        await pilot.press("j", "down", "j", "k")
        assert table.cursor == "pi-03"
        await pilot.press("G")
        assert table.cursor == "pi-40"
        await pilot.press("g", "pagedown", "pageup", "j", "j")
        assert table.cursor == "pi-03"
        await typed(pilot, ":sort device desc")
        await pilot.press("enter")
        assert app.desk.sort == "device"
        assert table.cursor == "pi-03"
        assert "pi-03" in "\n".join(table.text())
        core.emit(born("pi-00"))
        app.tick()
        assert table.cursor == "pi-03"


async def test_resizing_keeps_cursor_filter_and_place_in_the_log() -> None:
    core, clock = play(devices=40)
    async with running(core, clock, LARGE) as (app, pilot):
        await typed(pilot, "/pi-1")
        await pilot.press("enter", "j", "j", "4", "k", "k")
        stopped = app.console_screen.log_pane.stopped_at
        before = (app.console_screen.devices.cursor, app.desk.filter, stopped)
        assert stopped is not None
        for size in ((80, 24), (61, 17), (160, 45)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            log = app.console_screen.log_pane
            assert (app.console_screen.devices.cursor, app.desk.filter, log.stopped_at) == before


async def test_the_filter_is_live_shows_its_count_and_esc_clears_it() -> None:
    core, clock = play(devices=40)
    async with running(core, clock) as (app, pilot):
        await typed(pilot, "/pi-3")
        assert "/pi-3 10/40" in app.console_screen.devices.text()[0]
        await pilot.press("escape")
        assert app.desk.filter == ""
        await typed(pilot, "/nothing")
        await pilot.press("enter")
        assert "No device matches 'nothing'. Esc clears" in shown(app)
        await pilot.press("escape")
        assert app.desk.filter == ""


async def test_esc_goes_back_exactly_one_level() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await typed(pilot, "/pi-0")
        await pilot.press("enter", "z", "enter", "question_mark")
        screen = app.console_screen
        assert [level for level, _ in screen.levels] == ["detail", "help"]
        assert "Devices › pi-01 › Help" in shown(app)
        states = []
        for _ in range(5):
            await pilot.press("escape")
            states.append((len(screen.levels), app.desk.zoomed, app.desk.filter))
        assert states == [(1, True, "pi-0"), (0, True, "pi-0"), (0, False, "pi-0"), (0, False, ""), (0, False, "")]


async def test_panes_by_number_tab_and_zoom() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        for key, name in zip("12345", ("devices", "rounds", "metrics", "events", "run"), strict=True):
            await pilot.press(key)
            assert app.desk.focus == name
            assert app.console_screen.pane_by_name(name).display
        await pilot.press("tab")
        assert app.desk.focus == "devices"
        await pilot.press("shift+tab", "z")
        assert app.desk.focus == "run"
        assert not app.console_screen.devices.display


async def test_the_footer_follows_the_focus_and_the_run() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        bar = app.console_screen.bar
        assert "↵detail" in bar.text()[0]
        assert "p pause" in bar.text()[0]
        assert "start" not in bar.text()[0]
        await pilot.press("4")
        assert "detail" not in bar.text()[0]
        await pilot.press("p")
        await until(pilot, lambda: "run pause" in core.executed)
        app.tick()
        assert "p resume" in bar.text()[0]


async def test_help_is_made_from_the_key_table_and_the_commands() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await pilot.press("question_mark")
        text = "\n".join("".join(piece for piece, _ in line) for line in app.console_screen.help_page.body(100))
        for expected in (
            "abort the run; asks first  :run abort",
            "device evict",
            "to the bottom",
            "1 devices, 2 rounds",
        ):
            assert expected in text


async def test_an_unknown_command_names_the_nearest_and_keeps_the_line() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await typed(pilot, ":run strat")
        await pilot.press("enter")
        assert "Did you mean 'start'" in shown(app)
        assert app.console_screen.bar.is_open
        assert app.console_screen.bar.edit.text == "run strat"
        assert core.executed == []


async def test_the_ghost_is_taken_by_right_and_tab_goes_round_the_candidates() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        bar = app.console_screen.bar
        await typed(pilot, ":run ab")
        assert ":run abort" in bar.text()[0]
        await pilot.press("right")
        assert bar.edit.text == "run abort"
        await pilot.press("ctrl+u")
        await typed(pilot, "device ping pi-0")
        seen = []
        for _ in range(3):
            await pilot.press("tab")
            seen.append(bar.edit.text)
        assert seen == ["device ping pi-01", "device ping pi-02", "device ping pi-03"]
        await pilot.press("shift+tab")
        assert bar.edit.text == "device ping pi-02"
        await pilot.press("escape")
        assert not bar.is_open


async def test_pending_done_and_failed_are_seen() -> None:
    core, clock = play()
    gate = asyncio.Event()
    answered = core.submit

    async def slow(line: str, **more: object) -> str:
        await gate.wait()
        return await answered(line, **more)  # type: ignore[arg-type]

    core.submit = slow  # type: ignore[method-assign]
    async with running(core, clock) as (app, pilot):
        await typed(pilot, ":device ping pi-01")
        await pilot.press("enter")
        assert "⋯ device ping pi-01" in app.console_screen.message.text()[0]
        gate.set()
        await until(pilot, lambda: "✓ ping: pi-01" in app.console_screen.message.text()[0])
        core.refuse["run resume"] = "The run is not paused, so there is nothing to resume. " * 3
        await typed(pilot, ":run resume")
        await pilot.press("enter")
        await until(pilot, lambda: app.console_screen.message.kind == "failed")
        await pilot.pause()
        told = " ".join(line.strip(" ✗") for line in app.console_screen.message.text())
        assert told.split() == core.refuse["run resume"].split(), "the reason of the core was cut"


async def test_an_answer_of_many_lines_gets_a_page() -> None:
    core, clock = play()
    core.answers["runs"] = "run-0001  done\nrun-0002  failed"
    async with running(core, clock) as (app, pilot):
        await typed(pilot, ":runs")
        await pilot.press("enter")
        await until(pilot, lambda: "run-0002  failed" in shown(app))
        await pilot.press("escape")
        assert app.console_screen.levels == []


async def test_s_starts_a_run() -> None:
    core, clock = play()
    async with running(core, clock, run_line="run start federated rounds=7") as (_, pilot):
        await pilot.press("s")
        await until(pilot, lambda: core.executed == ["run start federated rounds=7"])


async def test_shift_s_fills_the_line_in_and_sends_nothing_by_itself() -> None:
    core, clock = play()
    async with running(core, clock, run_line="run start federated rounds=7") as (app, pilot):
        await pilot.press("S")
        assert app.console_screen.bar.edit.text == "run start federated rounds=7"
        assert core.executed == []
        await pilot.press("enter")
        await until(pilot, lambda: core.executed == ["run start federated rounds=7"])


async def test_abort_asks_cancel_has_the_focus_and_only_a_choice_aborts() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await pilot.press("x")
        text = shown(app)
        assert "Run run-0003 (federated) ends now" in text
        assert "[ Cancel ]" in text
        await pilot.press("enter")
        assert core.executed == []
        await pilot.press("x", "escape", "x", "tab")
        assert "[ Abort run ]" in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: core.executed == ["run abort"])
        await until(pilot, lambda: "✓" in app.console_screen.message.text()[0])


async def test_many_devices_need_their_number() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await pilot.press("space", "space", "space")
        assert app.desk.marked == {"pi-01", "pi-02", "pi-03"}
        await typed(pilot, ":device evict @marked")
        await pilot.press("enter")
        assert "Evict 3 devices: pi-01, pi-02, pi-03." in shown(app)
        await pilot.press("tab", "enter")
        assert "Type 3 to go on" in shown(app)
        assert core.executed == []
        await pilot.press("3", "enter")
        await until(pilot, lambda: core.executed == ["device evict pi-01 pi-02 pi-03"])


async def test_what_was_confirmed_is_what_is_done() -> None:
    core, clock = play()
    core.emit(e.DeviceChanged(device="pi-01", state="lost"))
    core.emit(e.DeviceChanged(device="pi-02", state="lost"))
    async with running(core, clock) as (app, pilot):
        await typed(pilot, ":device evict @lost")
        await pilot.press("enter")
        assert "Evict 2 devices: pi-01, pi-02." in shown(app)
        core.emit(e.DeviceChanged(device="pi-03", state="lost"))
        app.tick()
        await pilot.press("2", "tab", "enter")
        await until(pilot, lambda: core.executed == ["device evict pi-01 pi-02"])


@pytest.mark.parametrize("size", [(60, 16), SMALL, LARGE])
async def test_the_question_stays_true_and_its_answers_in_sight(size: tuple[int, int]) -> None:
    core, clock = play()
    async with running(core, clock, size) as (app, pilot):
        await pilot.press("x")
        await until(pilot, lambda: "the 4 answers of 8 devices" in " ".join(shown(app).replace("│", " ").split()))
        done = e.UpdateReceived(
            run="run-0003", round=10, attempt=1, device="pi-08", weight=1, payload_bytes=1, after_s=1
        )
        core.emit(done)
        app.tick()
        assert "the 5 answers" in " ".join(shown(app).replace("│", " ").split())
        assert "[ Cancel ]" in shown(app)
        await pilot.press("escape")
        await typed(pilot, ":device evict @all")
        await pilot.press("enter", "tab", "enter")
        assert "Type 8 to go on" in shown(app)
        assert "[ Evict 8 devices ]" in shown(app)


async def test_read_only_refuses_what_changes_anything() -> None:
    core, clock = play()
    async with running(core, clock, read_only=True) as (app, pilot):
        assert "read-only" in app.console_screen.status.text()[0]
        await pilot.press("p", "x")
        assert "this console is read-only" in shown(app)
        assert not app.console_screen.confirm.question
        await typed(pilot, ":device show pi-01")
        await pilot.press("enter")
        await until(pilot, lambda: core.executed == ["device show pi-01"])


async def test_ctrl_c_stops_nothing_even_in_the_bar() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await pilot.press("ctrl+c")
        assert "Ctrl+C stops nothing here" in shown(app)
        await typed(pilot, ":run abort")
        await pilot.press("ctrl+c")
        assert not app.console_screen.bar.is_open
        assert core.executed == []


async def test_the_log_stands_still_when_scrolled_and_counts_what_is_new() -> None:
    core, clock = play(devices=20)
    async with running(core, clock, LARGE) as (app, pilot):
        log = app.console_screen.log_pane
        await pilot.press("4", "k")
        before = log.text()[1:-1]
        for i in range(3):
            core.emit(e.Notice(level="info", text=f"new {i}"))
        app.tick()
        assert log.text()[1:-1] == before
        assert "+3 new" in log.text()[0]
        await pilot.press("G")
        assert "new 2" in shown(app)
        assert "paused" not in log.text()[0]


async def test_a_face_that_attaches_late_knows_who_answered() -> None:
    core, clock = play(devices=3)
    core.past = [stamped for stamped in core.past if not isinstance(stamped.event, e.UpdateReceived)]
    async with running(core, clock) as (app, _):
        assert {done.answer for done in app.desk.store.rounds[9, 1].answers.values()} == {"sent"}


async def test_a_device_page_tells_everything() -> None:
    core, clock = play()
    core.emit(e.DeviceChanged(device="pi-03", state="lost", reason="its keep-alive ran out"))
    async with running(core, clock, LARGE) as (app, pilot):
        await pilot.press("j", "j", "enter")
        text = shown(app)
        for expected in (
            "✗ lost",
            "keep-alive ran out",
            "Raspberry Pi 4",
            "414 rows to train on",
            "co2",
            "r9",
            "✓ sent",
        ):
            assert expected in text


async def test_a_round_page_puts_the_slowest_first() -> None:
    core, clock = play()
    async with running(core, clock, LARGE) as (app, pilot):
        await pilot.press("2", "k", "enter")
        text = shown(app)
        assert "r9 done" in text
        assert "half within" in text
        closed = app.desk.store.rounds[9, 1]
        names = [line.strip("│ ").split()[0] for line in text.splitlines() if "✓ sent" in line]
        times = [closed.answers[name].after_s for name in names]
        assert len(times) == 8
        assert times == sorted(times, reverse=True)  # type: ignore[type-var]


async def test_without_a_broker_the_data_stay_and_commands_answer() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        core.emit(
            e.LinkChanged(state="lost", broker="mqtt://x", broker_kind="", attempt=3, retry_in_s=8.0, ever_up=True)
        )
        clock.at += 3
        app.tick()
        status = app.console_screen.status.text()[0]
        assert "✗ broker lost" in status
        assert "retry 3 in 5s  data 3s old" in status
        assert "pi-08" in shown(app)
        tones = {tone for line in app.console_screen.devices._lines[2:5] for _, tone in line}
        assert "good" not in tones
        await typed(pilot, ":run pause")
        await pilot.press("enter")
        await until(pilot, lambda: core.executed == ["run pause"])


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (None, ["starting"]),
        (e.LinkChanged(state="connecting", broker="mqtt://b", broker_kind="", attempt=1), ["connecting to mqtt://b"]),
        (e.LinkChanged(state="lost", broker="mqtt://b", broker_kind="", attempt=2, retry_in_s=4.0, reason="refused"),
         ["no broker at mqtt://b", "in 4 s", "kehefl broker start"]),
        (e.LinkChanged(state="refused", broker="mqtt://b", broker_kind="", reason="Wrong password."),
         ["refused the connection", "Wrong password.", "kehefl broker check mqtt://b"]),
        (link_up(), ["no devices yet", "kehefl-device pi-01 --broker mqtt://127.0.0.1:1883 --dataset homes \\"]),
    ],
)  # fmt: skip
async def test_every_state_without_devices_has_its_own_picture(
    event: e.LinkChanged | None, expected: list[str]
) -> None:
    core, clock = FakeCore(Clock()), Clock()
    if event is not None:
        core.emit(event)
    async with running(core, clock) as (app, _):
        for text in expected:
            assert text in shown(app)


async def test_waiting_paused_and_failed_say_so() -> None:
    core, clock = play()
    async with running(core, clock) as (app, _):
        core.emit(e.RoundPhase(run="run-0003", round=10, attempt=2, phase="waiting", reason="1 of 4 devices are ready"))
        app.tick()
        assert "waiting for devices: 1 of 4 devices are ready" in shown(app)
        core.emit(e.RunChanged(run="run-0003", status="paused"))
        app.tick()
        assert "paused" in app.console_screen.status.text()[0]
        assert "deadline stands still with 57s left" in shown(app)
        core.emit(e.RunChanged(run="run-0003", status="failed", reason="Too few devices. Start them."))
        app.tick()
        assert "run failed: Too few devices. Start them." in shown(app)


async def test_ages_go_stale() -> None:
    core, clock = play(devices=2)
    async with running(core, clock) as (app, _):
        core.emit(telemetry("pi-01", 3))
        clock.at += 42
        core.emit(telemetry("pi-02", 3))
        app.tick()
        rows = app.console_screen.devices.text()
        assert "42s!" in rows[2]
        assert "0s" in rows[3]


async def test_the_first_paint_does_not_wait_for_the_core() -> None:
    gate = asyncio.Event()
    core, clock = play()

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[FakeCore]:
        await gate.wait()
        yield core

    app = ConsoleApp(slow, clock=clock, refresh_s=1000.0)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "starting" in shown(app))
        await typed(pilot, ":run pause")
        await pilot.press("enter")
        assert "is not there (yet)" in shown(app)
        gate.set()
        await until(pilot, lambda: "pi-08" in shown(app))


async def test_a_core_that_cannot_start_is_a_picture_with_its_sentence() -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[FakeCore]:
        raise BrokerError("No broker could be started. Install one: apt install mosquitto")
        yield FakeCore()

    app = ConsoleApp(broken, clock=Clock(), refresh_s=1000.0)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "apt install mosquitto" in shown(app))
        await pilot.press("q")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 1


async def test_leaving_is_visible_and_leaves_the_core() -> None:
    gate = asyncio.Event()
    core, clock = play()

    @contextlib.asynccontextmanager
    async def stubborn() -> AsyncIterator[FakeCore]:
        yield core
        await gate.wait()
        core.closed = True

    app = ConsoleApp(stubborn, clock=clock, refresh_s=1000.0)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "pi-08" in shown(app))
        await typed(pilot, ":q")
        await pilot.press("enter")
        await until(pilot, lambda: "stopping" in shown(app))
        gate.set()
        await until(pilot, lambda: app.return_code is not None)
    assert core.closed
    assert app.return_code == 0


async def test_a_second_q_does_not_wait() -> None:
    core, clock = play()

    @contextlib.asynccontextmanager
    async def stubborn() -> AsyncIterator[FakeCore]:
        yield core
        await asyncio.Event().wait()

    app = ConsoleApp(stubborn, clock=clock, refresh_s=1000.0)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "pi-08" in shown(app))
        await pilot.press("q")
        await until(pilot, lambda: "stopping" in shown(app))
        await pilot.press("q")
        await until(pilot, lambda: app.return_code is not None)


async def test_themes_change_by_key_and_command() -> None:
    core, clock = play()
    async with running(core, clock) as (app, pilot):
        await pilot.press("t")
        assert app.desk.theme == "light"
        await typed(pilot, ":set theme=dark")
        await pilot.press("enter")
        assert app.desk.theme == "dark"
        await typed(pilot, ":set refresh=2")
        await pilot.press("enter")
        assert app.refresh_s == 2.0


async def test_history_is_recalled(tmp_path: Path) -> None:
    core, clock = play()
    async with running(core, clock, history_path=tmp_path / "h") as (app, pilot):
        for line in (":device ping pi-01", ":run pause"):
            await typed(pilot, line)
            await pilot.press("enter")
        await pilot.press("colon", "up", "up")
        assert app.console_screen.bar.edit.text == "device ping pi-01"
        await pilot.press("down", "down")
        assert app.console_screen.bar.edit.text == ""


async def test_a_fault_in_a_command_is_shown_and_the_console_stays() -> None:
    core, clock = play()

    async def broken(line: str, **more: object) -> str:
        raise ZeroDivisionError("division by zero")

    core.submit = broken  # type: ignore[method-assign,assignment]
    async with running(core, clock) as (app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: "a fault of kehefl (ZeroDivisionError" in shown(app))


async def test_only_what_changed_is_refreshed() -> None:
    core, clock = play()
    async with running(core, clock, LARGE) as (app, pilot):
        await pilot.pause()
        asked: list[object] = []
        table = app.console_screen.devices
        table.refresh = lambda *regions, **_: asked.extend(regions)  # type: ignore[method-assign,assignment]
        app.tick()
        assert asked == []
        clock.at += 1
        core.emit(telemetry("pi-02", 30))
        app.tick()
        assert {region.y for region in asked} <= set(range(2, 10))  # type: ignore[attr-defined]
        assert all(region.height == 1 and region.width < 60 for region in asked)  # type: ignore[attr-defined]


async def test_a_click_puts_focus_and_cursor_where_it_was() -> None:
    core, clock = play()
    async with running(core, clock, LARGE) as (app, pilot):
        await pilot.click("#events", offset=(10, 3))
        assert app.desk.focus == "events"
        await pilot.click("#devices", offset=(10, 4))
        assert (app.desk.focus, app.console_screen.devices.cursor) == ("devices", "pi-03")


async def test_an_open_round_shows_the_parts_it_went_through() -> None:
    core, clock = play()
    async with running(core, clock, LARGE) as (app, _):
        core.emit(e.RoundPhase(run="run-0003", round=10, attempt=1, phase="collecting"))
        clock.at += 2
        app.tick()
        row = next(line for line in app.console_screen.timeline.text() if "r10" in line)
        assert row.index("░") < row.index("█") < row.index("▓")
        assert "▚" not in row
