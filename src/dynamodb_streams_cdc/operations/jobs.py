"""Jobs: long work in parts, which goes on where it stopped.

A job is a SQLite file: what was asked for, the place that each part has come to, and what was
found. An answer of a function is kept in one transaction with its part's place. So a process that
is killed repeats at most the requests that were under way, and they may be repeated: see `control`.

What was found has keys of items and sums of persons. A job that is done keeps none of it in its
file: it is overwritten when the job is closed.
"""

import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import Any

from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.sinks.contributions import add

MOST_CHARACTERS = 100

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MOST_CHARACTERS - 1}}}", re.ASCII)
ELSEWHERE = "Set CDC_JOBS to a folder that you may write to."

_STRANGE = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS job (asked TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS part (
    name TEXT PRIMARY KEY, place TEXT NOT NULL, done INTEGER NOT NULL, read INTEGER NOT NULL,
    units REAL NOT NULL, counts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS found (
    name TEXT PRIMARY KEY, document TEXT NOT NULL, seen REAL NOT NULL, state TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS found_in_order ON found (state, seen, name);
CREATE TABLE IF NOT EXISTS amount (
    side TEXT, aggregate TEXT, measure TEXT, amount TEXT NOT NULL,
    PRIMARY KEY (side, aggregate, measure)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL);
COMMIT;
"""

HOLDING = ("part", "found", "amount", "note")
"""Tables that hold something of items."""


def folder() -> Path:
    """Return the folder of this person's jobs: `CDC_JOBS`, or one below the state folder."""
    if given := os.environ.get("CDC_JOBS"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "dynamodb-streams-cdc", "jobs")


def check_folder() -> None:
    """Refuse a folder that keeps no job, before work is begun that others see.

    Raises:
        OperationError: it cannot be made, or no file can be written in it.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder()):
            return
    except OSError as error:
        message = f"No job can be kept in {folder()}: {error}. {ELSEWHERE}"
        raise OperationError(message) from error


def job_name(*parts: object) -> str:
    """Return the name of the job with these parts; the first is of this program.

    A name that is too long, or has a character that a job's may not have, ends in a digest of it.
    """
    name = "-".join(map(str, parts))
    if _NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_STRANGE.sub('_', name)[: MOST_CHARACTERS - len(digest) - 1]}-{digest}"


@dataclass(frozen=True)
class PartState:
    """How far a part has come."""

    name: str
    place: Any
    done: bool
    read: int
    units: float
    counts: Mapping[str, int]


class Job:
    """A job in its file; one process has it at a time.

    It begins again if it came to nothing, if nothing was written to it for `stale_seconds`, and if
    it was about other copies: `copies` has what tells each that is known from one that had its
    name, or an empty text while there is none yet. A temporary one always begins again, and its
    file is removed when it is closed: a process that was killed leaves a file, and a later process
    may have its number.

    Attributes:
        resumed: whether it goes on where it stopped.
        lost: the first of the copies that is another than the job was about; None if it goes on.

    Raises:
        UsageError: the name has another form, or the file is another job's.
        OperationError: another process has the job, or the file cannot be used.
    """

    def __init__(
        self,
        name: str,
        asked: Mapping[str, Any],
        *,
        stale_seconds: float = float("inf"),
        temporary: bool = False,
        copies: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if not _NAME.fullmatch(name):
            message = f"--job: a name is 1 to 100 of A-Z a-z 0-9 _ . -, got {name!r}"
            raise UsageError(message)
        self.name = name
        self.temporary = temporary
        self.path = folder() / f"{name}.sqlite"
        age = 0.0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            written = (self.path, self.path.with_name(f"{self.path.name}-wal"))
            times = [each.stat().st_mtime for each in written if each.exists()]
            age = time.time() - max(times, default=time.time())
            self._database = sqlite3.connect(
                self.path, timeout=0.2, isolation_level=None, check_same_thread=False
            )
            # Kept until the process ends, however it ends: no other has the job meanwhile.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA secure_delete = ON")
            # A machine that loses power may forget the last answers: their requests are repeated.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            message = (
                f"Job {name} is at work in another process ({self.path}): wait for it, or give "
                "another name with --job."
                if "locked" in str(error)
                else self._not_kept(error)
            )
            raise OperationError(message) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise OperationError(self._not_kept(error)) from error
        self.lost: str | None = None
        is_stale = temporary or age > stale_seconds
        self.resumed = self._claim(dict(asked), copies, is_stale=is_stale)
        self.remember("copies", {**(self.recall("copies") or {}), **copies})

    def _not_kept(self, error: Exception) -> str:
        return f"Job {self.name} cannot be kept in {self.path}: {error}. {ELSEWHERE}"

    def _claim(
        self, asked: Mapping[str, Any], copies: Mapping[str, str], *, is_stale: bool
    ) -> bool:
        """Return whether the job goes on; one that is over, stale or of others begins again."""
        text = json.dumps(asked, sort_keys=True)
        row = self._database.execute("SELECT asked, state FROM job").fetchone()
        is_over = row is not None and (row[1] == "done" or not self._has_come_on())
        if row is not None and not is_over:
            held = self.recall("copies") or {}
            known = held.keys() & copies.keys()
            lost = (name for name in sorted(known) if held[name] not in ("", copies[name]))
            self.lost = next(lost, None)
        if is_over or is_stale or self.lost is not None:
            self.clear()
            row = None
        if row is None:
            self._database.execute("INSERT INTO job VALUES (?, 'begun')", [text])
            return False
        if row[0] != text:
            was = json.loads(row[0])
            differing = sorted(n for n in was.keys() | asked.keys() if was.get(n) != asked.get(n))
            message = (
                f"Job {self.name} was begun with other options ({', '.join(differing)}): give the "
                f"same ones to go on, another name with --job, or remove {self.path}."
            )
            raise UsageError(message)
        return True

    def _has_come_on(self) -> bool:
        """Return whether anything was done: a request was answered, or an execution was begun."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM part WHERE done OR read OR place != 'null') "
            "OR EXISTS (SELECT 1 FROM found) OR EXISTS (SELECT 1 FROM amount) "
            "OR EXISTS (SELECT 1 FROM note WHERE name NOT IN ('copies', 'segments'))"
        )
        return bool(self._database.execute(query).fetchone()[0])

    def clear(self) -> None:
        """Forget everything."""
        self._clear(("job", *HOLDING))

    def _clear(self, tables: Sequence[str]) -> None:
        with self.transaction():
            for table in tables:
                self._database.execute(f"DELETE FROM {table}")

    def finish(self) -> None:
        """Note that all is done: the name may be used again."""
        self._database.execute("UPDATE job SET state = 'done'")

    def close(self) -> None:
        """Let others have the job; forget what one that is done found; remove a temporary one."""
        if self._database.execute("SELECT 1 FROM job WHERE state = 'done'").fetchone():
            self._clear(HOLDING)
        self._database.close()
        if self.temporary:
            self.path.unlink(missing_ok=True)

    def transaction(self) -> "_Transaction":
        """Return a context in which all is kept, or nothing."""
        return _Transaction(self._database)

    def remember(self, name: str, value: Any) -> None:
        """Keep a value, as JSON, under a name; forget it for None."""
        if value is None:
            self._database.execute("DELETE FROM note WHERE name = ?", [name])
        else:
            row = [name, json.dumps(value)]
            self._database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", row)

    def recall(self, name: str) -> Any:
        """Return what was remembered under a name; None for nothing."""
        row = self._database.execute("SELECT value FROM note WHERE name = ?", [name]).fetchone()
        return None if row is None else json.loads(row[0])

    def segments(self, wanted: int) -> int:
        """Return the number of segments that the job was begun with; `wanted` if it is new.

        Its parts are named by them.
        """
        number = int(self.recall("segments") or wanted)
        self.remember("segments", number)
        return number

    def add_parts(self, names: Iterable[str]) -> None:
        """Add the parts that are not there."""
        with self.transaction():
            self._database.executemany(
                "INSERT OR IGNORE INTO part VALUES (?, 'null', 0, 0, 0, '{}')",
                [[name] for name in names],
            )

    def parts(self, beginning: str = "") -> list[PartState]:
        """Return the parts whose name has this beginning."""
        rows = self._database.execute(
            "SELECT name, place, done, read, units, counts FROM part "
            "WHERE substr(name, 1, ?) = ? ORDER BY name",
            [len(beginning), beginning],
        )
        return [
            PartState(name, json.loads(place), bool(done), read, units, json.loads(counts))
            for name, place, done, read, units, counts in rows
        ]

    def advance(self, state: PartState) -> None:
        """Keep how far a part has come."""
        self._database.execute(
            "UPDATE part SET place = ?, done = ?, read = ?, units = ?, counts = ? WHERE name = ?",
            [
                json.dumps(state.place),
                state.done,
                state.read,
                state.units,
                json.dumps(state.counts),
                state.name,
            ],
        )

    def forget_parts(self, beginning: str) -> None:
        """Let the parts whose name has this beginning start again."""
        self._database.execute(
            "DELETE FROM part WHERE substr(name, 1, ?) = ?", [len(beginning), beginning]
        )

    def add_found(self, found: Iterable[tuple[str, Mapping[str, Any]]], seen: float) -> None:
        """Keep what was found, by name; the first of a name stays."""
        self._database.executemany(
            "INSERT OR IGNORE INTO found VALUES (?, ?, ?, 'seen')",
            [[name, json.dumps(document), seen] for name, document in found],
        )

    def found(self, state: str, most: int = -1) -> list[tuple[str, dict[str, Any], float]]:
        """Return what was found and is in this state, the longest ago first."""
        rows = self._database.execute(
            "SELECT name, document, seen FROM found WHERE state = ? ORDER BY seen, name LIMIT ?",
            [state, most],
        )
        return [(name, json.loads(document), seen) for name, document, seen in rows]

    def all_found(self, state: str) -> Iterator[dict[str, Any]]:
        """Yield what was found and is in this state, in the order of the names."""
        rows = self._database.execute(
            "SELECT document FROM found WHERE state = ? ORDER BY name", [state]
        )
        for (document,) in rows:
            yield json.loads(document)

    def count_found(self, state: str) -> int:
        """Return how much was found and is in this state."""
        query = "SELECT count(*) FROM found WHERE state = ?"
        return int(self._database.execute(query, [state]).fetchone()[0])

    def settle(
        self, name: str, document: Mapping[str, Any] | None, state: str, seen: float
    ) -> None:
        """Change what was found; forget it for None."""
        if document is None:
            self._database.execute("DELETE FROM found WHERE name = ?", [name])
        else:
            self._database.execute(
                "UPDATE found SET document = ?, state = ?, seen = ? WHERE name = ?",
                [json.dumps(document), state, seen, name],
            )

    def add_amounts(self, side: str, sums: Mapping[str, Mapping[str, str]]) -> None:
        """Add amounts, exactly, to those of a side."""
        for aggregate, measures in sums.items():
            for measure, amount in measures.items():
                key = [side, aggregate, measure]
                row = self._database.execute(
                    "SELECT amount FROM amount WHERE side = ? AND aggregate = ? AND measure = ?",
                    key,
                ).fetchone()
                total = _plus(row[0], amount) if row else amount
                self._database.execute(
                    "INSERT OR REPLACE INTO amount VALUES (?, ?, ?, ?)", [*key, total]
                )

    def forget_amounts(self, sides: Sequence[str]) -> None:
        """Forget the amounts of some sides."""
        marks = ", ".join("?" * len(sides))
        self._database.execute(f"DELETE FROM amount WHERE side IN ({marks})", list(sides))

    def amounts(self, side: str, aggregate: str) -> dict[str, Decimal]:
        """Return the amounts of an aggregate that are not zero, by measure."""
        rows = self._database.execute(
            "SELECT measure, amount FROM amount WHERE side = ? AND aggregate = ?", [side, aggregate]
        )
        found = {measure: Decimal(amount) for measure, amount in rows}
        return {measure: amount for measure, amount in found.items() if amount}

    def aggregates(self, sides: Sequence[str]) -> Iterator[str]:
        """Yield the names of all aggregates of some sides."""
        marks = ", ".join("?" * len(sides))
        query = f"SELECT DISTINCT aggregate FROM amount WHERE side IN ({marks}) ORDER BY aggregate"
        for (aggregate,) in self._database.execute(query, list(sides)):
            yield aggregate


def _plus(one: str, other: str) -> str:
    total = add(({"": {"": Decimal(one)}}, {"": {"": Decimal(other)}}))
    return str(total.get("", {}).get("", 0))


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN")

    def __exit__(self, error: object, *_: object) -> None:
        self._database.execute("COMMIT" if error is None else "ROLLBACK")
