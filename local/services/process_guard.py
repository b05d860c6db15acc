"""Ends a process when its starter ends, even after SIGKILL.

A plain subprocess outlives a starter that is killed. So the starter runs this file as a process of
its own, in a session of its own, and holds the write end of its standard input. The kernel closes
that end when the starter dies. The guard then reads the end of the stream, ends the whole process
group of the command (the emulator's Lambda workers are in it), removes the folder and exits with
the command's status.

While the starter lives, it writes `start`, `stop` and `kill` to standard input; the guard answers
`started <pid>` and `ended <status>` on standard output. A command that ends by itself is reported
the same way; its folder stays until the starter closes the guard.

Standard library only; Linux and macOS behave the same.
"""

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.02
_KILL_SECONDS = 5.0
_FOLDER_ATTEMPTS = 50
_NOT_STARTED = 127  # exit status of a shell for a missing command


class ProcessGuard:
    """The starter's end: one guarded command, which can be started and stopped again."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        directory: Path | None = None,
        grace: float = 10.0,
    ) -> None:
        arguments = ["--folder", str(folder), "--grace", str(grace), "--", *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__, *arguments],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=directory or folder,
                env=dict(environment),
                start_new_session=True,
            )
        self._status: int | None = None

    def start(self) -> int:
        """Start the command and return its process id."""
        self._status = None
        self._send("start")
        answer = self._answer("started")
        if answer is None:
            message = "the guard ended before it could start the command"
            raise RuntimeError(message)
        return answer

    def stop(self) -> None:
        """End the command and its descendants politely; return when they are gone."""
        self._send("stop")
        self._status = self._answer("ended")

    def kill(self) -> None:
        """End the command and its descendants with SIGKILL, as a crash does."""
        self._send("kill")
        self._status = self._answer("ended")

    def status(self) -> int | None:
        """Return the exit status of the command, None while it runs."""
        output = self._pipe(self._process.stdout)
        while self._status is None and select.select([output], [], [], 0)[0]:
            word, value = self._line(output)
            if word == "ended":
                self._status = value
            elif not word:
                self._status = -signal.SIGKILL
        return self._status

    def close(self) -> None:
        """End everything and remove the folder; return when both are gone."""
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def _send(self, word: str) -> None:
        try:
            self._pipe(self._process.stdin).write(f"{word}\n".encode())
        except BrokenPipeError:
            return  # The guard and its command have ended: `_answer` finds out.

    def _answer(self, wanted: str) -> int | None:
        output = self._pipe(self._process.stdout)
        word = "?"
        while word:
            word, value = self._line(output)
            if word == wanted:
                return value
        return None

    @staticmethod
    def _line(output: IO[bytes]) -> tuple[str, int]:
        word, _, value = output.readline().decode().partition(" ")
        return word, int(value or 0)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            message = "a guard always has both pipes"
            raise AssertionError(message)
        return pipe


class _Supervisor:
    """The guard's own end of the pipes."""

    def __init__(self, command: Sequence[str], *, folder: Path, grace: float) -> None:
        self._command = command
        self._folder = folder
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None
        self._reported = True
        self._last_status = 0
        self._words: dict[str, Callable[[], None]] = {
            "start": self._start,
            "stop": lambda: self._end(signal.SIGTERM),
            "kill": lambda: self._end(signal.SIGKILL),
        }

    def run(self) -> int:
        try:
            self._obey()
        finally:
            self._end(signal.SIGTERM)
            _remove(self._folder)
        return self._last_status

    def _obey(self) -> None:
        signals = _readable_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        asked = False
        while not asked:
            ready, _, _ = select.select([sys.stdin, signals], [], [])
            if signals in ready:
                asked = bool({signal.SIGTERM, signal.SIGHUP} & set(os.read(signals, 64)))
                self._report()
            if sys.stdin in ready:
                words = os.read(sys.stdin.fileno(), 4096).decode().split()
                asked = asked or not words
                for word in words:
                    self._words[word]()

    def _start(self) -> None:
        self._reported = False
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                stderr=sys.stderr.fileno(),
                start_new_session=True,
            )
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            self._child, self._last_status = None, _NOT_STARTED
        _say(f"started {self._child.pid if self._child else 0}")
        self._report()

    def _end(self, how: signal.Signals) -> None:
        if self._child is not None:
            _signal_group(self._child.pid, how)
            deadline = time.monotonic() + self._grace
            while self._child.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            # SIGKILL to the descendants that are left, and to a command that ignores SIGTERM.
            deadline = time.monotonic() + _KILL_SECONDS
            while time.monotonic() < deadline:
                ended = self._child.poll() is not None
                if not _signal_group(self._child.pid, signal.SIGKILL) and ended:
                    break
                if ended and not _group_lives(self._child.pid):
                    break
                time.sleep(_POLL_SECONDS)
        self._reported = False
        self._report()

    def _report(self) -> None:
        """Say once that the child ended."""
        if self._child is None:
            status: int | None = self._last_status
        else:
            status = self._child.poll()
        if status is not None and not self._reported:
            self._last_status = status
            self._reported = True
            _say(f"ended {status}")


def _readable_on(*signals: signal.Signals) -> int:
    """Return a file descriptor from which the numbers of arriving signals can be read.

    SIGINT is among them and ignored: the starter handles the terminal's Ctrl-C. It has a handler
    instead of SIG_IGN because the command would inherit an ignored signal.
    """
    readable, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return readable


def _signal_group(group: int, how: signal.Signals) -> bool:
    """Signal a process group and say whether it has members; on Linux zombies count."""
    try:
        os.killpg(group, how)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group_lives(group: int) -> bool:
    """Whether a process group has a member that is not a zombie.

    In a container, orphans may stay zombies.
    """
    command = ["/bin/ps", "-A", "-o", "pgid=", "-o", "stat="]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return True
    members = [line.split() for line in listing.splitlines()]
    return any(fields[0] == str(group) and fields[1][0] != "Z" for fields in members)


def _remove(folder: Path) -> None:
    """Remove a folder whose writers were killed a moment ago."""
    for _ in range(_FOLDER_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_POLL_SECONDS)


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The starter is gone, and standard input ends as well. Flushing at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run a command that dies with its starter.")
    parser.add_argument("--folder", type=Path, required=True, help="removed at the end")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between TERM and KILL")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    supervisor = _Supervisor(options.command, folder=options.folder, grace=options.grace)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
