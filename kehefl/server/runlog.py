"""The run log: every event of the server core in SQLite (WAL), and what is known of each run.

A commit survives a killed process. It is not forced to the disk each time (`synchronous=NORMAL`): after a power cut
the last commits may be missing, but the log is whole; checkpoints are verified by their digest when they are read.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from kehefl.errors import DataError, KeheflError
from kehefl.server.events import RoundClosed, RunChanged, RunStarted, Stamped

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_run ON events (run, id);
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, federation TEXT NOT NULL, scenario TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    rounds INTEGER NOT NULL, rounds_completed INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL,
    host TEXT NOT NULL, pid INTEGER NOT NULL, settings TEXT NOT NULL, checkpoint TEXT NOT NULL, sha256 TEXT NOT NULL
);
"""
_VERSION: Final = 1


class RunRow(msgspec.Struct, frozen=True):
    """A recorded run. `checkpoint` is the newest model file, relative to the state directory; times in Unix seconds."""

    run: str
    federation: str
    scenario: str
    status: str
    reason: str
    rounds: int
    rounds_completed: int
    started_at: float
    ended_at: float | None
    host: str
    pid: int
    settings: str
    checkpoint: str
    sha256: str


class RunLog:
    """The log in `state`/runs.sqlite. One writer at a time per federation; readers at any time."""

    def __init__(self, state: Path, federation: str = "") -> None:
        self._federation = federation
        self._pending: list[tuple[str, Stamped]] = []
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Stamped)
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(state / "runs.sqlite", isolation_level=None, timeout=10.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found > _VERSION:
                raise DataError(
                    f"The run log in {state} was written by a newer kehefl (version {found} of the log, this one knows "
                    f"{_VERSION}). Upgrade kehefl, or choose another --state."
                )
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"The run log in {state} cannot be opened: {error}. Choose a writable directory with --state, or move "
                "the damaged runs.sqlite away."
            ) from error

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        self._db.close()

    # Writing -------------------------------------------------------------------------------------------------------

    def append(self, run: str, stamped: Stamped) -> None:
        """Queue an event; it is on disk after the next `flush`."""
        self._pending.append((run, stamped))

    def flush(self) -> None:
        """Commit what was queued, and the rows of the runs it is about. KeheflError when the disk does not take it;
        the queue is kept."""
        if not self._pending:
            return
        rows = [(run, stamped.seq, stamped.at, self._encoder.encode(stamped)) for run, stamped in self._pending]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO events (run, seq, at, body) VALUES (?, ?, ?, ?)", rows)
            for _, stamped in self._pending:
                self._note(stamped)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise KeheflError(f"The run log cannot be written: {error}. Free space on its disk.") from error
        self._pending.clear()

    def _note(self, stamped: Stamped) -> None:
        event = stamped.event
        match event:
            case RunStarted():
                self._db.execute(
                    "INSERT INTO runs VALUES (?, ?, ?, 'running', '', ?, 0, ?, NULL, ?, ?, ?, '', '') "
                    "ON CONFLICT (run) DO UPDATE SET status = 'running', reason = '', host = excluded.host, "
                    "pid = excluded.pid, ended_at = NULL",
                    (
                        event.run,
                        self._federation,
                        event.scenario,
                        event.rounds,
                        stamped.at,
                        socket.gethostname(),
                        os.getpid(),
                        msgspec.json.encode(event.settings).decode(),
                    ),
                )
            case RunChanged():
                ended = stamped.at if event.status not in {"running", "paused"} else None
                self._db.execute(
                    "UPDATE runs SET status = ?, reason = ?, rounds_completed = ?, ended_at = ? WHERE run = ?",
                    (event.status, event.reason, event.rounds_completed, ended, event.run),
                )
            case RoundClosed() if event.checkpoint:
                self._db.execute(
                    "UPDATE runs SET rounds_completed = ?, checkpoint = ?, sha256 = ? WHERE run = ?",
                    (event.round, event.checkpoint, event.checkpoint_sha256, event.run),
                )

    def adopt_interrupted(self) -> list[RunRow]:
        """Runs of this federation whose server is gone without having ended them; they are marked interrupted."""
        gone = [
            row
            for row in self._select("WHERE status IN ('running', 'paused') AND federation = ?", (self._federation,))
            if not (row.host == socket.gethostname() and row.pid != os.getpid() and psutil.pid_exists(row.pid))
        ]
        for row in gone:
            self._db.execute("UPDATE runs SET status = 'interrupted' WHERE run = ?", (row.run,))
        return gone

    # Reading -------------------------------------------------------------------------------------------------------

    def runs(self) -> list[RunRow]:
        """All runs, newest first."""
        return self._select("ORDER BY started_at DESC, rowid DESC", ())

    def run(self, run: str) -> RunRow:
        """One run by its id or a unique beginning of it; DataError if there is none, or more than one."""
        rows = self._select("WHERE run = ?", (run,)) or self._select("WHERE substr(run, 1, ?) = ?", (len(run), run))
        if not rows:
            raise DataError(f"There is no run '{run}' in this state directory. See them: kehefl runs")
        if len(rows) > 1:
            raise DataError(f"'{run}' begins more than one run: {', '.join(row.run for row in rows[:5])}. Type more.")
        return rows[0]

    def events(self, run: str) -> Iterator[Stamped]:
        """The events of a run in their order."""
        for (body,) in self._db.execute("SELECT body FROM events WHERE run = ? ORDER BY id", (run,)):
            yield self._decoder.decode(body)

    def _select(self, where: str, values: tuple[object, ...]) -> list[RunRow]:
        return [RunRow(*row) for row in self._db.execute(f"SELECT * FROM runs {where}", values)]  # noqa: S608 - no input
