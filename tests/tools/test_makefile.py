"""Programs get the variables of `make` as they are typed, and nothing else.

The Makefile runs with fake programs, which write down their arguments and environment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
FAKE = """#!{python} -IS
import json, os, sys
if "-c" not in sys.argv:
    open({told!r}, "w").write(json.dumps({{"arguments": sys.argv[1:], "names": dict(os.environ)}}))
"""
PARTS = ("node_modules/.package-lock.json", ".jgo", "build/dependencies")
BEFORE_READY = (
    ".venv/bin/uv",
    "requirements-dev.txt",
    "lambdas/requirements.txt",
    "stacks/packaging.py",
    "stacks/byte_code.py",
    "package-lock.json",
    "pyproject.toml",
)

ODD = [
    'x"; touch f; echo "',
    "x'; touch f; echo '",
    "$(touch f)",
    "`touch f`",
    "$$x ${x} $(x) $x",
    "a b  c",
    "* ?",
    "# no comment",
    "a\\b\\",
    "a\nb",
    "é 🛒",
    "-x",
]
"""Nothing of it means anything to a program that gets it as it is."""


class Made:
    """A clone of this repository as far as `make` looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(MAKEFILE, folder)
        for name in (*PARTS, *BEFORE_READY, ".venv/.ready"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        for name in (".venv/bin/python", "node_modules/.bin/cdk", "my python"):
            fake = folder / name
            fake.parent.mkdir(parents=True, exist_ok=True)
            fake.write_text(FAKE.format(python=sys.executable, told=f"{folder}/told"))
            fake.chmod(0o755)
        self.files = self._listed()

    def run(
        self, *words: str, names: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **(names or {})}
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *words: str, names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return arguments and environment of the program of a target."""
        done = self.run(*words, names=names)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads((self.folder / "told").read_text())
        assert self._listed() <= self.files | {"told", "build"}, "the shell has run something"
        return found

    def _listed(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def mine(made: Made) -> str:
    return f"PYTHON={made.folder}/my python"


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "exported"])
def test_the_demo_gets_its_variables_as_they_are(made: Made, odd: str, typed: bool) -> None:
    given = dict.fromkeys(("DATA", "LIMIT", "SEARCH_URL", "SEED", "POISON"), odd)
    words = [f"{name}={value}" for name, value in given.items()] if typed else []
    told = made.told("demo", *words, names={} if typed else given)["names"]
    assert told | given == told


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_other_programs_get_each_value_as_one_argument(made: Made, odd: str) -> None:
    told = made.told("simulate", f"SEED={odd}", f"N={odd}", "DEAD_LETTERS=1")
    given = ["--dead-letters", f"--schedules={odd}", f"--seed={odd}"]
    assert told["arguments"] == ["tools/simulate.py", *given]
    told = made.told("exercise-2", f"HINT={odd}", mine(made))
    assert told["arguments"] == ["-m", "exercises.checks", "2", f"--hint={odd}"]
    told = made.told("bench", f"RECORDS={odd}", f"CHANGES={odd}", f"REPEATS={odd}")
    given = [f"--records={odd}", f"--changes={odd}", f"--repeats={odd}"]
    assert told["arguments"][-3:] == given


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_lists_of_words_are_not_read_as_commands(made: Made, odd: str) -> None:
    told = made.told("bench", f"BENCH={odd}")
    assert told["arguments"] == ["-m", "benchmarks", *odd.split(), "--json", "build/bench.json"]


@pytest.mark.parametrize("odd", ODD[:3], ids=ascii)
@pytest.mark.parametrize("goal", ["synth", "preflight", "bootstrap", "deploy", "destroy", "e2e"])
def test_commands_for_an_account_get_their_variables(made: Made, goal: str, odd: str) -> None:
    told = made.told(goal, f"ENVIRONMENT={odd}", f"CDK_OPTIONS={odd}")
    program = ["tools.account.e2e"] if goal == "e2e" else ["tools.account", goal]
    assert told["arguments"] == ["-m", *program]
    assert told["names"]["CDK_OPTIONS"] == odd
    assert told["names"]["E2E_ENVIRONMENT" if goal == "e2e" else "ENVIRONMENT"] == odd


def test_variables_that_are_not_given_are_not_passed_on(made: Made) -> None:
    assert not {"DATA", "LIMIT", "SEED"} & made.told("demo")["names"].keys()
    assert made.told("simulate")["arguments"] == ["tools/simulate.py"]
    assert made.told("bench")["arguments"] == ["-m", "benchmarks", "--json", "build/bench.json"]
    assert made.told("synth")["names"]["ENVIRONMENT"] == "sandbox"


def test_only_a_typed_environment_sends_e2e_to_an_account(made: Made) -> None:
    assert made.told("e2e")["names"]["E2E_ENVIRONMENT"] == "local"
    exported = made.told("e2e", names={"ENVIRONMENT": "production"})
    assert exported["names"]["E2E_ENVIRONMENT"] == "local"
    assert made.told("e2e", "ENVIRONMENT=sandbox")["names"]["E2E_ENVIRONMENT"] == "sandbox"


def test_only_a_typed_commit_is_upgraded_from(made: Made) -> None:
    for names in ({}, {"COMMIT": "HEAD"}, {"REHEARSED_COMMIT": "HEAD"}):
        assert made.told("upgrade-rehearsal", names=names)["names"]["REHEARSED_COMMIT"] == ""
    told = made.told("upgrade-rehearsal", "COMMIT=v1.2.0", names={"COMMIT": "HEAD"})
    assert told["names"]["REHEARSED_COMMIT"] == "v1.2.0"


SWITCHES = [
    ("demo", "KEEP", None),
    ("demo", "CHAOS", None),
    ("simulate", "DEAD_LETTERS", "--dead-letters"),
    ("simulate", "OPERATIONS", "--operations"),
    ("simulate", "ERASURES", "--erasures"),
    ("exercise-1", "SOLUTION", "--solution"),
    ("preflight", "JSON", "--json"),
]


@pytest.mark.parametrize(("goal", "name", "option"), SWITCHES)
def test_a_switch_is_1_or_0(made: Made, goal: str, name: str, option: str | None) -> None:
    python = [mine(made)] if goal.startswith("exercise") else []
    for value in ("1", "0"):
        told = made.told(goal, f"{name}={value}", *python)
        assert told["names"][name] == value
        assert (option in told["arguments"]) == (option is not None and value == "1")
    for value in ("no", "01", "1 1", "$(touch f)"):
        done = made.run(goal, f"{name}={value}", *python)
        assert done.returncode == 2
        assert f"make {goal}: {name}={value}: write 1 to turn it on, or 0" in done.stderr


@pytest.mark.parametrize(("goal", "name", "option"), SWITCHES)
def test_an_exported_switch_is_on_only_if_it_is_1(
    made: Made, goal: str, name: str, option: str | None
) -> None:
    python = [mine(made)] if goal.startswith("exercise") else []
    for value in ("true", "App.sln", "1 1", "$(touch f)", ""):
        told = made.told(goal, *python, names={name: value})
        assert told["names"][name] == "0"
        assert option not in told["arguments"]
    told = made.told(goal, *python, names={name: "1"})
    assert told["names"][name] == "1"
    assert (option in told["arguments"]) == (option is not None)


def test_every_variable_that_is_1_or_0_is_a_switch() -> None:
    text = MAKEFILE.read_text()
    described = re.findall(r"^# ([A-Z_]+): 1 ", text, re.MULTILINE)
    [listed] = re.findall(r"^SWITCHES := (.+)$", text, re.MULTILINE)
    assert sorted(described) == sorted(listed.split()) == sorted(name for _, name, _ in SWITCHES)


def test_a_wrong_answer_is_not_an_error_of_make(made: Made) -> None:
    (made.folder / "my python").write_text('#!/bin/sh\n[ "$1" = -c ] || exit ${ENDS:-0}\n')
    for ends, status in (("1", 0), ("2", 2), ("0", 0)):
        done = made.run("exercise-1", mine(made), names={"ENDS": ends})
        assert done.returncode == status
        assert ("***" in done.stderr) == bool(status)


def test_another_python_than_that_of_the_environment_is_refused(made: Made) -> None:
    for name, version in ((".venv/bin/python", "3.11.2"), ("same", "3.11.2"), ("other", "3.12.1")):
        (made.folder / name).write_text(f"#!/bin/sh\necho Python {version}\n")
        (made.folder / name).chmod(0o755)
    said = {name: made.run("setup", f"PYTHON=./{name}") for name in ("same", "other", "missing")}
    assert {name: done.returncode for name, done in said.items()} == {
        "same": 0,
        "other": 2,
        "missing": 2,
    }
    assert "PYTHON=./other is Python 3.12.1, and .venv has Python 3.11.2: run make clean first" in (
        said["other"].stdout
    )
    assert "PYTHON=./missing is not installed" in said["missing"].stdout
    assert made.run("setup", names={"PYTHON": "./other"}).returncode == 0
    assert made.run("demo", "PYTHON=./other").returncode == 0


def test_the_python_of_the_machine_is_compared(made: Made) -> None:
    """The environment's own comes first on the PATH of every target."""
    venv, machine = made.folder / ".venv/bin", made.folder / "bin"
    machine.mkdir()
    for folder, version in ((venv, "3.11.2"), (machine, "3.12.1")):
        for name in ("python", "python3"):
            (folder / name).write_text(f"#!/bin/sh\necho Python {version}\n")
            (folder / name).chmod(0o755)
    path = f"{venv}:{venv}:{machine}:{os.environ['PATH']}"
    done = made.run("setup", "PYTHON=python3", names={"PATH": path})
    assert done.returncode == 2
    assert "PYTHON=python3 is Python 3.12.1, and .venv has Python 3.11.2" in done.stdout


def test_what_was_removed_is_installed_again(made: Made) -> None:
    assert "npm ci" not in made.run("setup", "-n").stdout
    for name in PARTS:
        (made.folder / name).rename(made.folder / "removed")
        assert "npm ci" in made.run("setup", "-n").stdout, name
        (made.folder / "removed").rename(made.folder / name)


def test_an_exercise_gets_only_the_given_variables(made: Made) -> None:
    told = made.told("exercise-1", mine(made))
    assert told["arguments"] == ["-m", "exercises.checks", "1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "LIMT=200"], "make demo takes no LIMT: it takes DATA LIMIT SEARCH_URL"),
        (["demo", "N=3"], "make demo takes no N: it takes"),
        (
            ["simulate", "LIMIT=3"],
            "make simulate takes no LIMIT: it takes N DEAD_LETTERS",
        ),
        (["exercise-1", "HNIT=1"], "make exercise-1 takes no HNIT: it takes HINT SOLUTION"),
        (["bench", "bench=parse"], "make bench takes no bench: it takes BENCH"),
        (["synth", "ENVIROMENT=production"], "make synth takes no ENVIROMENT: it takes"),
        (["lint", "LIMIT=1"], "make lint takes no LIMIT: it takes no variables"),
        (["demo", "simulate", "X=1"], "make demo simulate takes no X"),
        (["demo", "LIMIT="], "make demo: LIMIT is empty: leave it out, or set it"),
        (["synth", "ENVIRONMENT="], "make synth: ENVIRONMENT is empty"),
    ],
)
def test_misspelt_and_empty_variables_are_refused(made: Made, words: list[str], said: str) -> None:
    done = made.run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (made.folder / "told").exists()


def test_variables_of_one_goal_are_accepted_with_another(made: Made) -> None:
    assert made.run("demo", "simulate", "LIMIT=3", "N=4").returncode == 0
    assert made.run("clean", "ANYTHING=1").returncode == 0


def test_the_app_starts_without_a_venv_of_its_own(tmp_path: Path) -> None:
    """`pip install -r requirements.txt` and `cdk synth` go with any Python; .venv comes first."""
    command = json.loads((MAKEFILE.parent / "cdk.json").read_text())["app"]
    (tmp_path / "src").symlink_to(MAKEFILE.parent / "src")
    (tmp_path / "app.py").write_text("import sys, dynamodb_streams_cdc; print(sys.prefix)")
    plain = {"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin"}

    def prefix() -> str:
        return subprocess.check_output(["sh", "-c", command], cwd=tmp_path, env=plain, text=True)

    assert prefix().strip() == sys.base_prefix
    (tmp_path / ".venv").symlink_to(sys.prefix)
    assert prefix().strip() in {sys.prefix, str(tmp_path / ".venv")}
