"""Events about a run, made from what is known of it. No link, no log; `now` is the coordinator's clock."""

from __future__ import annotations

from typing import Literal

from kehefl.federation.rounds import Close, Open
from kehefl.protocol.messages import Update
from kehefl.server.events import RoundClosed, RoundOpened, RoundPhase, RunChanged, RunStarted, RunStatus, UpdateReceived
from kehefl.server.run import OpenRound, Run


def run_started(run: Run, scenario: str, resumed_from: int) -> RunStarted:
    return RunStarted(
        run=run.run,
        scenario=scenario,
        rounds=run.settings.rounds,
        settings=run.settings_as_values(),
        resumed_from_round=resumed_from,
    )


def run_changed(run: Run, status: RunStatus, reason: str, model_path: str) -> RunChanged:
    return RunChanged(
        run=run.run,
        status=status,
        reason=reason,
        rounds_completed=run.machine.rounds_completed,
        metrics=run.metrics,
        model_path=model_path,
        model_sha256=run.checkpoint[1],
    )


def round_opened(run: Run, order: Open) -> RoundOpened:
    return RoundOpened(
        run=run.run,
        round=order.round,
        attempt=order.attempt,
        task=order.task,
        cohort=order.cohort,
        needed=order.needed,
        deadline_s=order.deadline_s,
        carried=order.carried,
    )


def round_phase(run: Run, now: float, reason: str = "") -> RoundPhase:
    """Where the round stands after a command or a wait."""
    machine = run.machine
    return RoundPhase(
        run=run.run,
        round=machine.round,
        attempt=machine.attempt,
        phase="training" if machine.phase == "open" else "waiting",
        reason="paused" if machine.paused else reason,
        deadline_in_s=machine.deadline_in_s(now),
    )


def update_received(run: Run, update: Update, payload_bytes: int, now: float, *, late: bool) -> UpdateReceived:
    return UpdateReceived(
        run=run.run,
        round=update.round,
        attempt=update.attempt,
        device=update.device,
        weight=update.weight,
        payload_bytes=payload_bytes,
        after_s=now - run.open.opened_at if run.open else 0.0,
        download_s=update.download_s,
        train_s=update.train_s,
        train_cpu_s=update.train_cpu_s,
        loss=update.loss,
        late=late,
    )


def round_closed(
    run: Run,
    close: Close,
    outcome: Literal["done", "failed", "aborted"],
    now: float,
    *,
    aggregating_since: float | None = None,
    reason: str = "",
) -> RoundClosed:
    """The end of a round attempt; without `aggregating_since` nothing was aggregated."""
    round_ = run.open or OpenRound(Open(close.round, close.attempt, close.task, (), (), 0, 0.0), now, now)
    first = round_.first_at or now
    last = round_.last_at or now
    return RoundClosed(
        run=run.run,
        round=close.round,
        attempt=close.attempt,
        task=close.task,
        outcome=outcome,
        cohort_size=len(round_.order.cohort) + len(round_.order.carried),
        responded=close.responded,
        missing=close.missing,
        wall_s=now - round_.opened_at,
        announce_s=round_.announced_at - round_.opened_at,
        train_s=first - round_.announced_at,
        collect_s=(aggregating_since or last) - first,
        aggregate_s=now - aggregating_since if aggregating_since is not None else 0.0,
        received_bytes=round_.received_bytes,
        sent_bytes=round_.sent_bytes,
        reason=reason,
    )
