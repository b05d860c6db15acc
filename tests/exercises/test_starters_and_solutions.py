"""Starters fail with their sentence, solutions pass, and both are told as `make` tells them."""

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dynamodb_streams_cdc import Change
from exercises import exercise_1, exercise_2, exercise_3
from exercises.checks import __main__ as checks
from exercises.checks import reading
from exercises.checks.bench import Wrong
from exercises.stores import AuditTable
from tests.exercises.test_exercise_1 import inserting, letting_it_out
from tests.exercises.verdicts import ONE, THREE, TWO, verdict

ROOT = Path(__file__).parents[2]


def edited() -> bool:
    """Return whether a file differs from the starter that was committed."""
    files = [f"exercises/exercise_{number}.py" for number in (1, 2, 3)]
    command = ["git", "diff", "--quiet", "HEAD", "--", *files]
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 1
    return False


of_starters = pytest.mark.skipif(
    edited(), reason="an exercise is edited: `git checkout exercises` brings the starters back"
)
Audit = Callable[[Change, AuditTable], None]


@of_starters
@pytest.mark.parametrize(
    ("exercise", "starter", "step", "sentence"),
    [
        (
            ONE,
            exercise_1.audit,
            "changes_within_a_second",
            "Order 1001 was placed, shipped and refunded within one second, and not each of the "
            "three has an entry. DynamoDB rounds the time of a record down to the second",
        ),
        (
            TWO,
            exercise_2.sync,
            "an_old_batch_comes_back",
            "Then the first batch was delivered again, as it may be after a crash, and readers "
            "find it placed. The function wrote what came last, which is not what happened last.",
        ),
        (
            THREE,
            exercise_3.History,
            "the_log_is_read_in_any_order",
            "The log was read from its end: refunded, shipped, placed. The history says that order "
            "1001 is placed. What was read last is not what happened last",
        ),
    ],
    ids=["audit log", "search", "event sourcing"],
)
def test_a_starter_fails_at_its_step_with_its_sentence(
    exercise: checks.Exercise, starter: object, step: str, sentence: str
) -> None:
    failed_at, said = verdict(exercise, starter)
    assert failed_at == step
    assert sentence in said


@pytest.mark.parametrize("exercise", checks.EXERCISES, ids=lambda exercise: exercise.title)
def test_a_solution_passes_every_step_and_hears_what_was_learnt(
    exercise: checks.Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.main([str(exercise.number), "--solution"]) == 0
    told = capsys.readouterr().out
    steps = [step.__name__.replace("_", " ") for step in exercise.check.STEPS]
    assert [line[9:] for line in told.splitlines() if line.startswith("  right  ")] == steps
    assert "\nSolved. " in told
    assert exercise.then in " ".join(told.split())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the check as `make` does, without any installed package."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "exercises.checks", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_no_byte_code_of_an_exercise_is_kept(tmp_path: Path) -> None:
    """That of a file of the same size, saved in the same second, would pass for its own."""
    shutil.copytree(ROOT / "exercises", tmp_path / "exercises", ignore=lambda *_: ["__pycache__"])
    command = [sys.executable, "-S", "-m", "exercises.checks", "1"]
    known = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, check=False)
    assert done.returncode in (0, 1)
    assert not list(tmp_path.rglob("exercise_1*.pyc"))


@of_starters
def test_a_failed_check_names_step_reason_and_hint() -> None:
    done = run("1")
    assert done.returncode == 1
    assert done.stderr == ""
    assert (
        "  right  every change leaves an entry\n  WRONG  changes within a second\n" in done.stdout
    )
    for part in ("\nWhat happened: ", "\nWhy: ", "\nRead on: docs/", "make exercise-1 HINT=1"):
        assert part in done.stdout


@of_starters
def test_the_hint_that_is_offered_is_that_of_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exercise_1, "audit", letting_it_out)
    assert not checks.check(ONE)
    told = capsys.readouterr().out
    assert "  WRONG  a batch delivered twice\n" in told
    assert told.endswith("\nHint 3 of 5 helps: make exercise-1 HINT=3\n")


@pytest.mark.parametrize("exercise", checks.EXERCISES, ids=lambda exercise: exercise.title)
def test_every_step_has_a_hint_and_every_hint_a_step(exercise: checks.Exercise) -> None:
    wanted = set(range(1, len(exercise.check.HINTS) + 1))
    assert set(exercise.check.STEPS.values()) == wanted


def test_a_hint_comes_alone_and_the_solution_last(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (1, 2):
        assert checks.main(["2", "--hint", str(wanted)]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"\nHint {wanted} of 4: ")
        assert told.count("Hint ") == 1
    for beyond in ("9", "9" * 5000):
        assert checks.main(["2", "--hint", beyond]) == 0
        assert "A solution: exercises/solutions/exercise_2.py" in capsys.readouterr().out
    for wrong in ("0", "abc", "1.5", "²"):
        assert checks.main(["2", "--hint", wrong]) == 2
        assert f"There is no hint {wrong}: hints are numbered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def audit(change, log)\n    pass\n", "Python cannot read line 1 of"),
        ("import nothing_of_that_name\n", "cannot be imported: ModuleNotFoundError"),
        ("def write(change, log): ...\n", "There is no audit in"),
        ("async def audit(change, log): ...\n", "without `await`"),
        ("audit = 3\n", "cannot be called: it is 3"),
        ("def audit(change, log): yield\n", "has a `yield`"),
        ("async def audit(change, log): yield\n", "has a `yield`"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / f"learner_{abs(hash(text))}"
    package.mkdir()
    (package / "exercise_1.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert not checks.check(ONE, package.name)
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("def add(self, change): yield", r"History\.add in \S+ has a `yield`"),
        ("async def state(self, item): ...", r"History\.state in \S+ is `async def`"),
    ],
)
def test_a_method_that_does_not_run_is_told_its_name(
    method: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / f"learner_{abs(hash(method))}"
    package.mkdir()
    (package / "exercise_3.py").write_text(f"class History:\n    {method}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert not checks.check(THREE, package.name)
    assert re.search(said, " ".join(capsys.readouterr().out.split()))


class Stumbling:
    """An audit that is an object, and raises."""

    def __call__(self, change: Change, log: AuditTable) -> None:
        raise LookupError(change.kind)


def stumbling_over(what: str, change: Change, log: AuditTable) -> None:
    raise LookupError(what)


@pytest.mark.parametrize(
    ("audit", "line"),
    [
        (Stumbling(), Stumbling.__call__.__code__.co_firstlineno + 1),
        (partial(stumbling_over, "x"), stumbling_over.__code__.co_firstlineno + 1),
    ],
    ids=["object", "partial"],
)
def test_an_error_of_a_callable_object_is_told_its_line(audit: Audit, line: int) -> None:
    _, said = verdict(ONE, audit)
    assert "Your code raised LookupError" in said
    assert f"(line {line} of your file)" in said


def headings(page: Path) -> set[str]:
    """Return the anchors of a page of the documentation."""
    lines = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line[:1] == "#"]
    return {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_there_is_something_to_read_on() -> None:
    places = [value.split()[0] for name, value in vars(reading).items() if name.isupper()]
    assert len(places) > 5
    for place in places:
        path, _, anchor = place.partition("#")
        assert (ROOT / path).exists()
        assert not anchor or anchor in headings(ROOT / path)
    assert any("#" in place for place in places)


def test_every_step_is_met_by_a_test() -> None:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    steps = [step.__name__ for exercise in checks.EXERCISES for step in exercise.check.STEPS]
    assert [name for name in steps if f'"{name}"' not in source] == []


def test_the_story_of_a_run_with_faults_is_short() -> None:
    audit = inserting(lambda change: change.sequence_number.zfill(40))
    *_, (_, wrong) = checks.steps(ONE, audit)
    assert isinstance(wrong, Wrong)
    assert 3 < len(wrong.story.splitlines()) <= 16
    assert " at 0x" not in wrong.story


def loops(change: Change, log: AuditTable) -> None:
    while True:
        with contextlib.suppress(Exception):
            str(change)


def asks(change: Change, log: AuditTable) -> None:
    while True:
        with contextlib.suppress(Exception):
            log.history(change.item_id)


def waits(change: Change, log: AuditTable) -> None:
    threading.Event().wait()


def leaves(change: Change, log: AuditTable) -> None:
    sys.exit(3)


# The signal may come in hypothesis' callback of the garbage collector; it comes again.
comes_again = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@comes_again
@pytest.mark.parametrize("endless", [loops, waits])
def test_code_that_never_returns_is_stopped_and_told_its_line(endless: Audit) -> None:
    [(step, wrong)] = checks.steps(ONE, endless, limit=0.2)
    assert step == "every_change_leaves_an_entry"
    assert "Your code did not return within 0.2 s (line " in str(wrong)


@comes_again
def test_code_that_asks_without_end_is_stopped() -> None:
    """It is called again at its time limit: the end may come between two calls, at no line."""
    [(step, wrong)] = checks.steps(ONE, asks, limit=0.2)
    assert step == "every_change_leaves_an_entry"
    assert str(wrong).startswith("Your code did not return within 0.2 s")


def test_code_that_ends_the_process_is_told_so() -> None:
    step, said = verdict(ONE, leaves)
    assert step == "every_change_leaves_an_entry"
    line = leaves.__code__.co_firstlineno + 1
    assert f"by sys.exit(3) (line {line} of your file)" in said


SEEN = """
seen = set()

def audit(change, log):
    if change.version not in seen:
        entry = {"kind": change.kind, "after": change.new_image}
        log.insert(change.item_id, change.version, entry)
        seen.add(change.version)
"""
VERSIONS = """
versions = {}

def sync(change, index):
    if versions.get(change.item_id, "") < change.version:
        versions[change.item_id] = change.version
        if change.new_image is None:
            index.delete(change.item_id)
        else:
            index.put(change.item_id, {k: str(v) for k, v in change.new_image.items()})
"""
SHARED = """
class History:
    changes = []

    def add(self, change):
        self.changes.append(change)

    def state(self, item):
        mine = [change for change in self.changes if change.item_id == item]
        return max(mine, key=lambda change: change.version).new_image if mine else None
"""


@pytest.mark.parametrize(
    ("exercise", "text"), [(ONE, SEEN), (TWO, VERSIONS), (THREE, SHARED)], ids=["1", "2", "3"]
)
def test_what_remembers_something_between_runs_is_told_so(
    exercise: checks.Exercise,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / f"remembering_{exercise.number}"
    package.mkdir()
    (package / f"{exercise.name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert not checks.check(exercise, package.name)
    assert "remembers something between runs" in " ".join(capsys.readouterr().out.split())


def test_an_interrupt_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "check", interrupted)
    assert checks.main(["1"]) == 130
    assert capsys.readouterr().out == "\nStopped.\n"
