"""How a run proceeds: a state machine without clock, socket or file.

Inputs are what happened and when (`now`, seconds of any monotonic clock); outputs are actions for the shell to carry
out. Rounds are numbered: 0 gathers feature sums, 1 to `rounds` train, `rounds + 1` evaluates the final model.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Literal

import msgspec

from kehefl.federation.settings import RunSettings

Task = Literal["statistics", "train", "evaluate"]


class Verdict(enum.StrEnum):
    """What is to be done with an update that names a device, a round and an attempt."""

    ACCEPT = "accept"
    ACCEPT_LATE = "accept late"
    DUPLICATE = "duplicate"
    LATE = "late"
    STALE = "stale"
    FOREIGN = "foreign"


class Open(msgspec.Struct, frozen=True):
    """Announce a round to its cohort. `carried` finish their work for the round before."""

    round: int
    attempt: int
    task: Task
    cohort: tuple[str, ...]
    carried: tuple[str, ...]
    needed: int
    deadline_s: float


class Close(msgspec.Struct, frozen=True):
    """Aggregate what `responded` sent, make it durable, then report `closed`."""

    round: int
    attempt: int
    task: Task
    responded: tuple[str, ...]
    missing: tuple[str, ...]


class Fail(msgspec.Struct, frozen=True):
    """The attempt ended without a quorum; its updates are dropped."""

    round: int
    attempt: int
    task: Task
    responded: tuple[str, ...]
    missing: tuple[str, ...]
    reason: str


class Wait(msgspec.Struct, frozen=True):
    """Too few devices are there; the machine waits for more until `limit_s` from now."""

    round: int
    needed: int
    ready: int
    limit_s: float
    reason: str


class Nudge(msgspec.Struct, frozen=True):
    """Ask silent devices again: an acknowledged publish may still have been lost by the broker."""

    round: int
    attempt: int
    devices: tuple[str, ...]


class Finish(msgspec.Struct, frozen=True):
    """The run is over."""

    status: Literal["done", "failed", "aborted"]
    reason: str


Action = Open | Close | Fail | Wait | Nudge | Finish

#: Share of the deadline after which silent devices are asked for the first time, and again after each further share.
NUDGE_SHARE = 0.2
#: Nudges closer together than this would only add traffic to a round that is short anyway.
NUDGE_MIN_S = 2.0


class RunMachine:
    """One run. Every method that may change something returns the actions to carry out, in order."""

    def __init__(self, settings: RunSettings, *, first_round: int = 0) -> None:
        self.settings = settings
        self.round = first_round
        self.attempt = 1
        self.phase: Literal["idle", "waiting", "open", "closing", "ended"] = "idle"
        self.paused = False
        self.rounds_completed = max(0, first_round - 1)
        #: Devices of the run: ready or not. A lost one stays a member, so that the quorum does not shrink with it.
        self.members: dict[str, bool] = {}
        #: Devices that said they cannot take part in this run, with their reason.
        self.excluded: dict[str, str] = {}
        self.cohort: tuple[str, ...] = ()
        self.carried: tuple[str, ...] = ()
        self.responded: set[str] = set()
        self._withdrawn: set[str] = set()
        self._late_from: tuple[int, int, frozenset[str]] = (-1, 0, frozenset())
        #: The round that was closed last, and whose updates are in its result.
        self._closed_as = (-1, 0)
        self._counted: frozenset[str] = frozenset()
        self._needed = 0
        self._opened_at = 0.0
        self._deadline_at: float | None = None
        self._left_s = 0.0
        self._nudge_at: float | None = None
        self._wait_until: float | None = None
        self._not_before = 0.0
        self._expected: frozenset[str] = frozenset()

    # What the shell asks -------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        if self.round == 0:
            return "statistics"
        return "train" if self.round <= self.settings.rounds else "evaluate"

    @property
    def needed(self) -> int:
        """Devices that the open round needs."""
        return self._needed

    @property
    def outstanding(self) -> tuple[str, ...]:
        """Devices of the open round whose answer has not come, sorted."""
        waiting = {*self.cohort, *self.carried} - self.responded - self._withdrawn
        return tuple(sorted(waiting))

    def awaited(self, device: str) -> tuple[int, int]:
        """Round and attempt of the answer that is expected of a device of the open round."""
        return self._late_from[:2] if device in self.carried else (self.round, self.attempt)

    def nudge(self, now: float) -> list[Action]:
        """Ask silent devices now: the connection was broken, and what they sent meanwhile is lost."""
        if self.phase != "open" or self.paused or not self.outstanding:
            return []
        self._nudge_at = now + self._nudge_every()
        return [Nudge(self.round, self.attempt, self.outstanding)]

    def wake_at(self) -> float | None:
        """When `tick` has something to do, unless something else happens before; None if never."""
        if self.paused:
            return None
        if self.phase == "open":
            times = [time for time in (self._deadline_at, self._nudge_at) if time is not None]
            return min(times, default=None)
        if self.phase != "waiting":
            return None
        return self._not_before if self._wait_until is None else self._wait_until

    def deadline_in_s(self, now: float) -> float | None:
        """Seconds left of the open round; what was left when the run is paused; None when no round is open."""
        if self.phase != "open":
            return None
        return self._left_s if self._deadline_at is None else max(0.0, self._deadline_at - now)

    def judge(self, device: str, round_: int, attempt: int) -> Verdict:
        """What an update would be taken as; changes nothing."""
        if self.phase in {"open", "closing"} and round_ == self.round and attempt == self.attempt:
            if device in self.responded:
                return Verdict.DUPLICATE
            if device not in self.cohort or device in self._withdrawn:
                return Verdict.FOREIGN
            return Verdict.ACCEPT if self.phase == "open" else Verdict.LATE
        if (round_, attempt) == self._closed_as and device in self._counted:
            return Verdict.DUPLICATE
        late_round, late_attempt, late_devices = self._late_from
        if (round_, attempt) == (late_round, late_attempt) and device in late_devices:
            if self.phase == "open" and device in self.carried:
                return Verdict.DUPLICATE if device in self.responded else Verdict.ACCEPT_LATE
            return Verdict.LATE
        return Verdict.STALE

    # What happened -------------------------------------------------------------------------------------------------

    def begin(self, ready: Iterable[str], now: float, expected: Iterable[str] = ()) -> list[Action]:
        """The run starts with the devices that are there. A resumed one waits for those it was interrupted with, but
        goes on without them, with a quorum, when the time to wait is over."""
        self._expected = frozenset(expected)
        self.members = {**dict.fromkeys(self._expected, False), **dict.fromkeys(ready, True)}
        return self._try_open(now)

    def device_ready(self, device: str, now: float) -> list[Action]:
        """A device was born, came back, or was readmitted. It takes part from the next round on."""
        self.members[device] = True
        self.excluded.pop(device, None)
        return self._try_open(now) if self.phase == "waiting" else []

    def device_lost(self, device: str) -> list[Action]:
        """A device's connection broke. The open round waits for its return until the deadline."""
        if device in self.members:
            self.members[device] = False
        return []

    def device_left(self, device: str, reason: str, now: float) -> list[Action]:
        """A device left in good order, was drained or evicted, or refused the run: nothing more is expected of it."""
        self.members.pop(device, None)
        self._expected -= {device}
        if reason:
            self.excluded[device] = reason
        if self.phase == "open" and device in self.outstanding:
            self._withdrawn.add(device)
            return self._settle(now)
        return []

    def accept(self, device: str, now: float) -> list[Action]:
        """A valid update of `device`, judged ACCEPT or ACCEPT_LATE, was stored."""
        self.responded.add(device)
        return self._settle(now)

    def closed(self, now: float) -> list[Action]:
        """The shell made the result of the round durable."""
        if self.phase != "closing":
            return []
        if self.task == "train":
            self.rounds_completed += 1
        if self.task == "evaluate":
            return self._finish("done", "")
        if self.task == "train":
            self._not_before = self._opened_at + self.settings.pace
        self.round += 1
        self.attempt = 1
        self.phase = "waiting"
        self._wait_until = None
        return self._try_open(now)

    def tick(self, now: float) -> list[Action]:
        """Time went by. Call it at `wake_at`."""
        if self.paused:
            return []
        if self.phase == "waiting" and self._wait_until is not None and now >= self._wait_until:
            if self._expected:
                self._expected = frozenset()
                return self._try_open(now)
            return self._finish("failed", self._waited_in_vain())
        if self.phase == "waiting" and self._wait_until is None:
            return self._try_open(now)
        if self.phase != "open":
            return []
        if self._deadline_at is not None and now >= self._deadline_at:
            return self._deadline(now)
        if self._nudge_at is not None and now >= self._nudge_at:
            self._nudge_at = now + self._nudge_every()
            return [Nudge(self.round, self.attempt, self.outstanding)]
        return []

    # What the operator wants ---------------------------------------------------------------------------------------

    def pause(self, now: float) -> list[Action]:
        """Open no further round; the clock of the open one stands still."""
        if self.phase == "open" and self._deadline_at is not None:
            self._left_s = max(0.0, self._deadline_at - now)
            self._deadline_at = self._nudge_at = None
        self.paused = True
        return []

    def resume(self, now: float) -> list[Action]:
        """Go on after a pause."""
        self.paused = False
        if self.phase == "open":
            self._deadline_at = now + self._left_s
            self._nudge_at = now + self._nudge_every()
            return self._settle(now)
        if self.phase == "waiting":
            self._wait_until = None
            return self._try_open(now)
        return []

    def abort(self, reason: str) -> list[Action]:
        """End the run now."""
        return [] if self.phase == "ended" else self._finish("aborted", reason)

    def fail(self, reason: str) -> list[Action]:
        """End the run now as failed: what it needs is gone."""
        return [] if self.phase == "ended" else self._finish("failed", reason)

    def change(self, settings: RunSettings, now: float) -> list[Action]:
        """Deadline or quorum were changed; both hold for the open round too."""
        self.settings = settings
        if self.phase == "waiting":
            return self._try_open(now)
        if self.phase != "open":
            return []
        self._needed = settings.needed(len(self.members))
        remaining = self._opened_at + settings.deadline - now
        if self.paused:
            self._left_s = max(0.0, remaining)
            return []
        self._deadline_at = now + remaining
        return self.tick(now) or self._settle(now)

    # Decisions -----------------------------------------------------------------------------------------------------

    def _try_open(self, now: float) -> list[Action]:
        if self.paused or (self.task == "train" and now < self._not_before):
            return []
        ready = sorted(device for device, is_ready in self.members.items() if is_ready)
        needed = self._needed_to_open()
        if len(ready) < needed or not self._expected <= set(ready):
            return self._wait(len(ready), max(needed, len(self._expected)), now)
        self._expected = frozenset()
        late_round, _, late_devices = self._late_from
        carry = self.settings.late == "next-round" and self.task == "train" and late_round == self.round - 1
        self.carried = tuple(device for device in ready if carry and device in late_devices)
        self.cohort = tuple(device for device in ready if device not in self.carried)
        self.phase = "open"
        self.responded = set()
        self._withdrawn = set()
        self._needed = self.settings.needed(len(self.members))
        self._opened_at = now
        self._deadline_at = now + self.settings.deadline
        self._nudge_at = now + self._nudge_every()
        self._wait_until = None
        return [
            Open(self.round, self.attempt, self.task, self.cohort, self.carried, self._needed, self.settings.deadline)
        ]

    def _needed_to_open(self) -> int:
        """A quorum; for the first round at least the devices that the run is to wait for."""
        quorum = self.settings.needed(len(self.members))
        return max(quorum, self.settings.devices) if self.round == 0 else quorum

    def _wait(self, ready: int, needed: int, now: float) -> list[Action]:
        self.phase = "waiting"
        if self._wait_until is None:
            self._wait_until = now + self.settings.wait
        if not self.members and self.excluded:
            return self._finish("failed", f"Round {self.round} cannot open: {self._refusals()}")
        reason = f"{ready} of {needed} needed devices are ready"
        return [Wait(self.round, needed, ready, self._wait_until - now, reason)]

    def _settle(self, now: float) -> list[Action]:
        """Close the round when nothing more is to come."""
        if self.phase != "open" or self.outstanding:
            return []
        return self._close() if len(self.responded) >= self._needed else self._retry(now, "")

    def _deadline(self, now: float) -> list[Action]:
        if len(self.responded) >= self._needed:
            return self._close()
        return self._retry(now, f" within {self.settings.deadline:g} s")

    def _close(self) -> list[Action]:
        self.phase = "closing"
        missing = self.outstanding
        self._closed_as, self._counted = (self.round, self.attempt), frozenset(self.responded)
        if self.task == "train":
            own = frozenset(missing) - frozenset(self.carried)
            self._late_from = (self.round, self.attempt, own)
        return [Close(self.round, self.attempt, self.task, tuple(sorted(self.responded)), missing)]

    def _retry(self, now: float, within: str) -> list[Action]:
        asked = len(self.cohort) + len(self.carried)
        answered = f"{len(self.responded)} of {asked} devices answered{within}, {self._needed} needed"
        named = "; missing: " + self._names(self.outstanding) if self.outstanding else ""
        refused = "; " + self._refusals() if self.excluded else ""
        reason = f"Round {self.round}, attempt {self.attempt} of {self.settings.attempts}: {answered}{named}{refused}."
        failed = Fail(self.round, self.attempt, self.task, tuple(sorted(self.responded)), self.outstanding, reason)
        if self.attempt >= self.settings.attempts:
            advice = " Start the missing devices, or ask for less with quorum= or deadline=, then start the run again."
            return [failed, *self._finish("failed", reason + advice)]
        self.attempt += 1
        self.phase = "waiting"
        self._wait_until = None
        return [failed, *self._try_open(now)]

    def _finish(self, status: Literal["done", "failed", "aborted"], reason: str) -> list[Action]:
        self.phase = "ended"
        self._deadline_at = self._nudge_at = self._wait_until = None
        return [Finish(status, reason)]

    def _waited_in_vain(self) -> str:
        ready, needed = sum(self.members.values()), self._needed_to_open()
        lost = tuple(sorted(device for device, is_ready in self.members.items() if not is_ready))
        named = " Missing: " + self._names(lost) + "." if lost else ""
        return (
            f"Round {self.round} did not open: {ready} of {needed} needed devices were ready within "
            f"{self.settings.wait:g} s.{named} Start devices (kehefl-device), or ask for fewer (devices=, quorum=)."
        )

    def _refusals(self) -> str:
        return "refused by " + ", ".join(f"{device} ({reason})" for device, reason in sorted(self.excluded.items())[:5])

    def _names(self, devices: tuple[str, ...]) -> str:
        shown = ", ".join(device if self.members.get(device, False) else f"{device} (lost)" for device in devices[:10])
        return shown + (f" and {len(devices) - 10} more" if len(devices) > 10 else "")

    def _nudge_every(self) -> float:
        return max(NUDGE_MIN_S, NUDGE_SHARE * self.settings.deadline)
