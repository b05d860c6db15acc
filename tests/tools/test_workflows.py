"""The workflows do what `.ci/run` and the Makefile do, with no more rights than they need."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RUN = (ROOT / ".ci" / "run").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

# Targets that check something, of which CI runs each that there is.
CHECKS = {
    *("lint", "lint-templates", "docs", "test", "integration", "bench-check", "synth", "demo"),
    *("e2e", "upgrade-rehearsal"),
}


def load(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return found


def triggers(workflow: Mapping[Any, Any]) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return workflow[True]


def steps(workflow: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(workflow: Mapping[Any, Any]) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def made(text: str) -> list[str]:
    return re.findall(r"^ *make ([a-z0-9-]+)", text, re.MULTILINE)


def test_ci_runs_what_the_script_runs() -> None:
    assert commands(load("ci.yml")) == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, "the script can be executed"


def test_the_script_runs_every_check() -> None:
    """Each target that it names is there, and each check that there is, it names."""
    assert set(made(RUN)) <= TARGETS
    assert (CHECKS & TARGETS) - set(made(RUN)) == set()
    assert made(RUN)[0] == "setup"
    assert "make synth ENVIRONMENT=sandbox" in RUN


def test_the_script_gives_no_settings_that_a_fork_may_have() -> None:
    """Those in cdk.json may exclude it, as alarm_email excludes alarms=none."""
    assert "CDK_OPTIONS" not in RUN
    assert "--context" not in (ROOT / "Makefile").read_text()


def test_ci_has_the_history_that_the_upgrade_rehearsal_needs() -> None:
    (checkout,) = [each for each in steps(load("ci.yml")) if "checkout" in each.get("uses", "")]
    assert checkout["with"]["fetch-depth"] == 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEveryWorkflow:
    def test_actions_are_pinned_to_a_commit_with_its_version(self, path: Path) -> None:
        lines = [line for line in path.read_text().splitlines() if "uses:" in line]
        assert lines
        for line in lines:
            assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line

    def test_one_action_has_one_commit(self, path: Path) -> None:
        pins: dict[str, set[str]] = {}
        for workflow in WORKFLOWS:
            for action, commit in re.findall(r"uses: (\S+)@(\S+)", workflow.read_text()):
                pins.setdefault(action, set()).add(commit)
        assert all(len(commits) == 1 for commits in pins.values()), pins

    def test_every_job_has_an_end_and_its_own_place(self, path: Path) -> None:
        workflow = load(path.name)
        assert workflow["concurrency"]["group"]
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 150

    def test_nothing_is_pasted_into_a_shell(self, path: Path) -> None:
        """An expression in `run` is text of a program: a variable or an input could add to it."""
        assert [command for command in commands(load(path.name)) if "${{" in command] == []

    def test_no_keys(self, path: Path) -> None:
        text = path.read_text()
        assert "secrets." not in text
        assert not re.search(r"aws-(secret-)?access-key|AWS_SECRET|AKIA", text, re.IGNORECASE)

    def test_no_workflow_writes_to_the_repository(self, path: Path) -> None:
        workflow = load(path.name)
        granted = [workflow["permissions"]]
        granted += [job["permissions"] for job in workflow["jobs"].values() if "permissions" in job]
        for permissions in granted:
            assert permissions.get("contents", "read") == "read"
            assert set(permissions) <= {"contents", "id-token"}
        for step in steps(workflow):
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


class TestE2e:
    def test_it_starts_by_hand_or_for_a_tag(self) -> None:
        """Never for a pull request, whose code is a stranger's."""
        on = triggers(load("e2e.yml"))
        assert set(on) == {"workflow_dispatch", "push"}
        assert set(on["push"]) == {"tags"}

    def test_it_needs_an_account_that_the_fork_names(self) -> None:
        (job,) = load("e2e.yml")["jobs"].values()
        assert "vars.E2E_ROLE_ARN != ''" in job["if"]
        assert "vars.E2E_ACCOUNT != ''" in job["if"]
        assert job["env"]["CONFIRM"] == "${{ vars.E2E_ACCOUNT }}"
        roles = [each["with"] for each in steps(load("e2e.yml")) if "aws-actions" in str(each)]
        assert len(roles) == 2
        for role in roles:
            assert role["role-to-assume"] == "${{ vars.E2E_ROLE_ARN }}"
            assert role["allowed-account-ids"] == "${{ vars.E2E_ACCOUNT }}"
        assert job["permissions"] == {"contents": "read", "id-token": "write"}

    def test_it_always_destroys(self) -> None:
        *_, again, last = steps(load("e2e.yml"))
        assert last["run"] == "make destroy ENVIRONMENT=sandbox"
        for step in (again, last):
            assert step["if"].startswith("always()")
        assert "aws-actions/configure-aws-credentials" in again["uses"]

    def test_two_runs_do_not_share_the_account(self) -> None:
        found = load("e2e.yml")["concurrency"]
        assert found == {"group": "e2e", "cancel-in-progress": False}

    def test_it_calls_targets_in_their_order(self) -> None:
        """No preflight, which fails in an account that e2e has to bootstrap: e2e runs it itself."""
        text = "\n".join(commands(load("e2e.yml")))
        assert made(text) == ["setup", "e2e", "destroy"]
        assert text.count("ENVIRONMENT=sandbox") == 2
