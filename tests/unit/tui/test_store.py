"""The reducer: what events come to, and that no order of them breaks it."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from kehefl.server import events as e
from kehefl.tui.once import picture
from kehefl.tui.store import Store, reduce
from tests.unit.tui.fake import Clock, FakeCore, Play, born, link_up, play, telemetry


def folded(events: list[e.AnyEvent], at: float = 100.0) -> Store:
    """A store after events one second apart."""
    store = Store()
    for i, event in enumerate(events):
        reduce(store, e.Stamped(i, at + i, event))
    return store


def whole_run() -> list[e.Stamped]:
    """Every kind of event, in the order in which they happen."""
    clock = Clock()
    core = FakeCore(clock)
    one = Play(core, clock, devices=4, rounds=3)
    one.setup()
    one.start()
    one.rounds(3)
    one.finish()
    extra: list[e.AnyEvent] = [
        e.RoundPhase(run="run-0003", round=2, attempt=1, phase="waiting", reason="2 of 4 needed devices are ready"),
        e.DeviceRefused(run="run-0003", round=2, attempt=1, device="pi-01", reason="no such column"),
        e.RoundClosed(run="run-0003", round=2, attempt=1, task="train", outcome="failed", cohort_size=4,
                      responded=("pi-01",), missing=("pi-02", "pi-99"), wall_s=60.0, reason="too few"),
        e.RunMeasured(run="run-0003", per_device={"pi-01": {"uplink_bytes": 5.0}},
                      processes={"h:1": {"cpu_s": 1.5}}, server={}, silent=("pi-02",)),
        e.MessageRejected(topic="kehefl/x", reason="not MessagePack", total=3),
        e.CommandChanged(command=1, line="run pause", state="failed", text="There is no run."),
        e.DeviceChanged(device="pi-02", state="lost", reason="keep-alive"),
        e.LinkChanged(state="lost", broker="mqtt://x", broker_kind="", retry_in_s=4.0, attempt=2),
        e.RunChanged(run="run-0001", status="aborted"),
    ]  # fmt: skip
    for event in extra:
        core.emit(event)
    return core.past


RUN = whole_run()


@given(st.permutations(RUN), st.lists(st.sampled_from(RUN), max_size=20))
def test_no_order_and_no_duplicates_break_the_store(order: list[e.Stamped], twice: list[e.Stamped]) -> None:
    store = Store()
    for stamped in [*order, *twice]:
        reduce(store, stamped)
    assert store.devices.keys() >= {"pi-01", "pi-02", "pi-03", "pi-04"}
    assert picture([*order, *twice])


def test_events_in_order_taken_twice_give_the_same_rounds_and_figures() -> None:
    once, twice = Store(), Store()
    for stamped in RUN[:60]:
        reduce(once, stamped)
        reduce(twice, stamped)
        reduce(twice, stamped)
    assert once.run is not None
    assert twice.run is not None
    assert once.run.figures == twice.run.figures
    assert once.run.received_bytes == twice.run.received_bytes
    assert [(r.responded, r.missing, r.outcome) for r in once.rounds.values()] == [
        (r.responded, r.missing, r.outcome) for r in twice.rounds.values()
    ]


def test_a_snapshot_of_the_latest_events_draws_the_present() -> None:
    latest: dict[tuple[str, str], e.Stamped] = {}
    for stamped in RUN[:-1]:
        latest[type(stamped.event).__name__, getattr(stamped.event, "device", "")] = stamped
    chosen = sorted(latest.values(), key=lambda stamped: stamped.seq)
    random.Random(3).shuffle(chosen)
    store = Store()
    for stamped in chosen:
        reduce(store, stamped)
    assert store.link.state == "lost"
    assert store.devices["pi-02"].state == "lost"


def test_a_pause_stops_the_deadline_where_it_stands() -> None:
    opened = e.RoundOpened(run="r", round=1, attempt=1, task="train", cohort=("a",), needed=1, deadline_s=60.0)
    store = folded([opened, e.RunChanged(run="r", status="paused")], at=100.0)
    current = store.round
    assert current is not None
    assert current.deadline_left_s == 59.0  # Paused one second after it was opened.
    reduce(store, e.Stamped(9, 500.0, e.RunChanged(run="r", status="running")))
    assert (current.deadline_left_s, current.deadline_from) == (59.0, 500.0)


def test_what_the_core_says_of_the_deadline_holds() -> None:
    opened = e.RoundOpened(run="r", round=1, attempt=1, task="train", cohort=("a",), needed=1, deadline_s=60.0)
    moved = e.RoundPhase(run="r", round=1, attempt=1, phase="training", deadline_in_s=12.5)
    store = folded([opened, moved])
    assert store.round is not None
    assert store.round.deadline_left_s == 12.5


def test_a_new_run_starts_with_empty_rounds_and_keeps_the_devices() -> None:
    core, _ = play(devices=3)
    core.emit(e.RunStarted(run="run-0004", scenario="local", rounds=5, settings={}))
    store = core.store
    assert store.rounds == {}
    assert store.run is not None
    assert store.run.figures == {}
    assert {device.round for device in store.devices.values()} == {None}
    assert len(store.devices) == 3


def test_round_zero_and_the_last_round_are_told_as_what_they_are() -> None:
    store = Store()
    for stamped in RUN[:-1]:
        reduce(store, stamped)
    tags = {line.tag for line in store.log}
    assert {"STATS", "ROUND 1/3", "EVAL"} <= tags


def test_a_device_that_is_gone_is_not_heard_and_one_that_speaks_is() -> None:
    store = folded([born("a"), telemetry("a", 1), e.DeviceChanged(device="a", state="lost", reason="keep-alive")])
    device = store.devices["a"]
    assert device.seen_at == 101.0
    assert device.birth is not None
    assert device.birth.rows_train == 412  # What it said at its birth is kept.


def test_what_changed_is_told_once() -> None:
    store = folded([link_up(), born("a"), born("b")])
    assert {"a", "b", " link", " log"} <= store.take_dirty()
    assert store.take_dirty() == set()
    reduce(store, e.Stamped(9, 9.0, telemetry("b", 1)))
    assert store.take_dirty() == {"b"}


def test_an_event_of_a_newer_core_is_told_and_left_out() -> None:
    class Newer(e.Event, frozen=True):
        pass

    store = Store()
    reduce(store, e.Stamped(1, 1.0, Newer()))  # type: ignore[arg-type]
    reduce(store, e.Stamped(2, 2.0, Newer()))  # type: ignore[arg-type]
    assert [line.text for line in store.log] == ["events of the kind Newer are not shown by this console"]


def test_memory_is_bounded_whatever_a_run_lasts() -> None:
    store = Store()
    for number in range(1, 1200):
        opened = e.RoundOpened(
            run="r", round=number, attempt=1, task="train", cohort=("a", "b"), needed=1, deadline_s=9.0
        )
        reduce(store, e.Stamped(number, float(number), opened))
    assert len(store.rounds) <= 400
    assert sum(1 for round_ in store.rounds.values() if round_.answers) <= 25
    assert len(store.devices["a"].rounds) <= 40


def test_once_needs_no_textual() -> None:
    code = "import sys, kehefl.tui.main, kehefl.tui.once; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_once_shows_broker_run_devices_and_rounds() -> None:
    core, _ = play(devices=3, done=4)
    text = picture(core.past)
    for expected in ("broker up", "S1 federated", "4/20 rounds", "pi-03", "stats", "r5", "rmse 1."):
        assert expected in text
    assert "kehefl-device pi-01 --broker mqtt://127.0.0.1:1883 --dataset homes --client 1" in picture(
        [e.Stamped(1, 1.0, link_up())]
    )
