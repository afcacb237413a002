"""The round machine: deadlines, quorums, retries, pauses; and any order of anything."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kehefl.federation.rounds import Action, Close, Fail, Finish, Nudge, Open, RunMachine, Verdict, Wait
from kehefl.federation.settings import RunSettings

ABC = ("a", "b", "c")


def machine(**values: object) -> RunMachine:
    return RunMachine(RunSettings(**{"rounds": 2, "deadline": 10.0, "wait": 5.0, "attempts": 2, **values}))  # type: ignore[arg-type]


def kinds(actions: list[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def answer(run: RunMachine, devices: str, now: float) -> list[Action]:
    actions: list[Action] = []
    for device in devices:
        assert run.judge(device, run.round, run.attempt) is Verdict.ACCEPT
        actions += run.accept(device, now)
    return actions


def past(run: RunMachine, rounds: int) -> None:
    """Let everybody answer the next `rounds` rounds."""
    for _ in range(rounds):
        answer(run, "".join(run.cohort), 0.0)
        run.closed(0.0)


def test_a_run_gathers_statistics_trains_and_evaluates() -> None:
    run = machine()
    opened = run.begin(ABC, 0.0)
    tasks = []
    while not isinstance(opened[0], Finish):
        assert isinstance(opened[0], Open)
        tasks.append((opened[0].round, opened[0].task, opened[0].cohort))
        assert kinds(answer(run, "abc", 1.0)) == ["Close"]
        opened = run.closed(1.0)
    assert tasks == [(0, "statistics", ABC), (1, "train", ABC), (2, "train", ABC), (3, "evaluate", ABC)]
    assert opened == [Finish("done", "")]
    assert run.rounds_completed == 2


def test_a_round_closes_at_its_deadline_with_its_quorum() -> None:
    run = machine(quorum=0.5)
    run.begin(ABC, 0.0)
    past(run, 1)
    answer(run, "ab", 1.0)
    assert run.tick(9.9) == [Nudge(1, 1, ("c",))]
    (close,) = run.tick(10.0)
    assert close == Close(1, 1, "train", ("a", "b"), ("c",))


def test_without_a_quorum_it_is_tried_again_and_then_fails_naming_who_was_missing() -> None:
    run = machine(quorum=1.0)
    run.begin(ABC, 0.0)
    past(run, 1)
    answer(run, "ab", 1.0)
    run.device_lost("c")
    failed, waiting = run.tick(10.0)
    assert isinstance(failed, Fail)
    assert isinstance(waiting, Wait)  # c is still a member: a quorum does not shrink with a loss
    assert failed.reason == (
        "Round 1, attempt 1 of 2: 2 of 3 devices answered within 10 s, 3 needed; missing: c (lost)."
    )
    (finish,) = run.tick(15.0)
    assert isinstance(finish, Finish)
    assert finish.status == "failed"
    assert "Missing: c (lost)" in finish.reason


def test_a_device_that_comes_back_takes_part_in_the_next_round() -> None:
    run = machine(quorum=0.5)
    run.begin(ABC, 0.0)
    run.device_lost("c")
    answer(run, "ab", 1.0)
    run.tick(10.0)
    (opened,) = run.closed(10.0)
    assert isinstance(opened, Open)
    assert opened.cohort == ("a", "b")
    assert run.device_ready("c", 11.0) == []
    answer(run, "ab", 12.0)
    (opened,) = run.closed(12.0)
    assert isinstance(opened, Open)
    assert opened.cohort == ABC


def test_a_device_that_joins_later_is_taken_into_the_next_round() -> None:
    run = machine()
    run.begin(("a",), 0.0)
    run.device_ready("new", 1.0)
    assert run.judge("new", 0, 1) is Verdict.FOREIGN
    answer(run, "a", 1.0)
    (opened,) = run.closed(1.0)
    assert isinstance(opened, Open)
    assert opened.cohort == ("a", "new")


def test_it_waits_for_devices_but_not_without_a_limit() -> None:
    run = machine(devices=2)
    (wait,) = run.begin(("a",), 0.0)
    assert isinstance(wait, Wait)
    assert run.wake_at() == 5.0
    (finish,) = run.tick(5.0)
    assert isinstance(finish, Finish)
    assert "1 of 2 needed devices were ready within 5 s" in finish.reason


def test_a_pause_stops_the_clock_and_opens_no_further_round() -> None:
    run = machine()
    run.begin(ABC, 0.0)
    run.pause(4.0)
    assert run.wake_at() is None
    assert run.tick(1000.0) == []
    assert run.deadline_in_s(1000.0) == 6.0
    answer(run, "abc", 1000.0)
    assert run.closed(1000.0) == []
    (opened,) = run.resume(1001.0)
    assert isinstance(opened, Open)
    assert opened.round == 1


def test_after_a_pause_the_deadline_has_what_was_left() -> None:
    run = machine(quorum=0.5)
    run.begin(ABC, 0.0)
    answer(run, "ab", 1.0)
    run.pause(4.0)
    assert run.resume(100.0) == []
    assert kinds(run.tick(105.9)) in (["Nudge"], [])
    assert kinds(run.tick(106.0)) == ["Close"]


def test_refusals_end_a_round_at_once_instead_of_at_its_deadline() -> None:
    run = machine(quorum=0.5)
    run.begin(ABC, 0.0)
    answer(run, "ab", 1.0)
    assert kinds(run.device_left("c", "other columns", 2.0)) == ["Close"]


def test_when_everyone_refuses_the_run_fails_with_their_reasons() -> None:
    run = machine()
    run.begin(("a",), 0.0)
    actions = run.device_left("a", "model 'x' is not known here", 1.0)
    assert isinstance(actions[-1], Finish)
    assert "a (model 'x' is not known here)" in actions[-1].reason


def test_an_update_that_comes_twice_is_a_duplicate_also_when_its_round_is_closed() -> None:
    run = machine()
    run.begin(ABC, 0.0)
    answer(run, "a", 1.0)
    assert run.judge("a", 0, 1) is Verdict.DUPLICATE
    answer(run, "bc", 1.0)
    assert run.judge("b", 0, 1) is Verdict.DUPLICATE
    run.closed(1.0)
    assert run.judge("b", 0, 1) is Verdict.DUPLICATE
    past(run, 1)
    assert run.judge("b", 0, 1) is Verdict.STALE


def test_a_late_update_is_dropped_or_carried_into_the_next_round() -> None:
    for late, verdict in (("drop", Verdict.LATE), ("next-round", Verdict.ACCEPT_LATE)):
        run = machine(quorum=0.5, late=late)
        run.begin(ABC, 0.0)
        past(run, 1)
        answer(run, "ab", 1.0)
        run.tick(10.0)
        (opened,) = run.closed(10.0)
        assert isinstance(opened, Open)
        assert opened.carried == (("c",) if late == "next-round" else ())
        assert run.judge("c", 1, 1) is verdict


def test_another_deadline_holds_for_the_open_round() -> None:
    run = machine(quorum=0.3)
    run.begin(ABC, 0.0)
    answer(run, "a", 1.0)
    assert "Close" not in kinds(run.change(RunSettings(rounds=2, deadline=3.0, quorum=0.3), 2.0))
    assert run.deadline_in_s(2.0) == 1.0
    assert kinds(run.tick(3.0)) == ["Close"]


def test_a_resumed_run_waits_for_the_devices_it_had_but_goes_on_without_them() -> None:
    run = RunMachine(RunSettings(rounds=5, wait=5.0, quorum=0.5), first_round=3)
    (wait,) = run.begin(("a",), 0.0, expected=ABC)
    assert isinstance(wait, Wait)
    assert isinstance(run.device_ready("b", 1.0)[0], Wait)
    (opened,) = run.tick(5.0)
    assert isinstance(opened, Open)
    assert (opened.round, opened.cohort, opened.needed) == (3, ("a", "b"), 2)


def test_a_pace_keeps_rounds_apart_but_not_the_evaluation() -> None:
    run = machine(pace=3.0)
    run.begin(ABC, 0.0)
    past(run, 1)
    answer(run, "abc", 1.0)
    assert run.closed(1.0) == []
    assert run.wake_at() == 3.0
    assert run.device_ready("d", 2.0) == []
    (opened,) = run.tick(3.0)
    assert isinstance(opened, Open)
    answer(run, "abcd", 3.5)
    (evaluate,) = run.closed(3.5)
    assert isinstance(evaluate, Open)
    assert evaluate.task == "evaluate"


def test_abort_ends_it_from_anywhere() -> None:
    run = machine()
    run.begin(ABC, 0.0)
    assert run.abort("by the operator") == [Finish("aborted", "by the operator")]
    assert run.abort("again") == []
    assert run.wake_at() is None
    assert run.judge("a", 0, 1) is Verdict.STALE


EVENTS = st.tuples(
    st.sampled_from(["ready", "lost", "left", "update", "old", "tick", "closed", "pause", "resume", "duplicate"]),
    st.sampled_from(["a", "b", "c", "d"]),
    st.floats(0.0, 7.0),
)


@settings(max_examples=300)
@given(
    st.lists(EVENTS, max_size=60),
    st.sampled_from([0.3, 0.5, 1.0, 2.0]),
    st.sampled_from(["drop", "next-round"]),
)
def test_any_order_of_anything_keeps_its_promises(
    events: list[tuple[str, str, float]], quorum: float, late: str
) -> None:
    run = machine(quorum=quorum, late=late, rounds=3)
    now = 0.0
    actions = run.begin(ABC, now)
    closed_rounds: list[int] = []
    for kind, device, elapsed in events:
        _check(run, actions, closed_rounds)
        now += elapsed
        match kind:
            case "ready":
                actions = run.device_ready(device, now)
            case "lost":
                actions = run.device_lost(device)
            case "left":
                actions = run.device_left(device, "", now)
            case "update" if run.judge(device, run.round, run.attempt) is Verdict.ACCEPT:
                actions = run.accept(device, now)
            case "duplicate":
                before = (run.round, run.attempt, set(run.responded))
                run.judge(device, run.round, run.attempt)
                assert before == (run.round, run.attempt, set(run.responded))
                actions = []
            case "old":
                assert run.judge(device, run.round + 1, 1) is not Verdict.ACCEPT
                actions = []
            case "tick":
                actions = run.tick(now)
            case "closed":
                actions = run.closed(now)
            case "pause":
                actions = run.pause(now)
            case "resume" if run.paused:
                actions = run.resume(now)
            case _:
                actions = []
    _check(run, actions, closed_rounds)
    # Nothing ever waits without a limit: unless paused or closing, there is a time at which something happens.
    if run.phase in {"open", "waiting"} and not run.paused:
        assert run.wake_at() is not None


def _check(run: RunMachine, actions: list[Action], closed_rounds: list[int]) -> None:
    for action in actions:
        match action:
            case Close(round=number, responded=responded):
                assert number not in closed_rounds
                closed_rounds.append(number)
                assert len(responded) >= 1
                assert set(responded) <= {*run.cohort, *run.carried}
            case Open(cohort=cohort, carried=carried):
                assert not set(cohort) & set(carried)
            case _:
                pass
