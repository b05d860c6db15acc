"""Synthesise templates, run checkov on them, and compare its findings with the accepted ones.

    python -m tools.lint_templates CHECKOV ENVIRONMENT...

CHECKOV is the script, in an environment of its own: its dependencies contradict this project's.
Exits with 1 if synth fails, if a finding has no row in stacks/findings.py, or if a row for checkov
accepts nothing. A row may accept nothing in a fork alone: its domain and settings have other
resources.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambdas import example_domain
from local.declaration import TABLES
from stacks.environments import cdk_json
from stacks.findings import ACCEPTED, Accepted, rows_for
from stacks.settings.alarms import AlarmSettings
from tools.account import cdk
from tools.example_context import CONTEXT

PREFIX = "CKV"
FOLDER = Path(__file__).parent.parent / "build" / "templates"


@dataclass(frozen=True)
class Finding:
    """A violation of a rule by a construct of an environment."""

    environment: str
    rule: str
    path: str
    title: str

    @property
    def rows(self) -> list[Accepted]:
        return rows_for(self.rule, self.path, self.environment)

    def __str__(self) -> str:
        return f"{self.environment}: {self.rule} at {self.path}: {self.title}"


class NotCheckedError(Exception):
    """Checkov did not check the templates."""


def synthesise(environment: str) -> Path:
    """Write the templates of an environment, with a receiver of its alarms; return their folder.

    Raises:
        NotCheckedError: synth failed, and has said why.
    """
    folder = FOLDER / environment
    options = ["--output", str(folder), *receiver(environment, cdk_json())]
    if status := cdk.synth(environment, options):
        message = f"cdk synth of environment {environment} failed with status {status}."
        raise NotCheckedError(message)
    return folder


def receiver(environment: str, context: Mapping[str, Any]) -> list[str]:
    """Return the option that names a receiver of alarms; none if cdk.json says who is told."""
    given = {**context, **context.get("environments", {}).get(environment, {})}
    if given.keys() & AlarmSettings.model_fields.keys():
        return []
    return ["--context", "alarm_email=on-call@example.com"]


def is_fork() -> bool:
    """Whether lambdas/domain or cdk.json is not the example's."""
    return TABLES != example_domain.TABLES or cdk_json() != CONTEXT


def run(checkov: str, folder: Path) -> Mapping[str, Any]:
    """Return checkov's report on the templates in a folder.

    Raises:
        NotCheckedError: it found no template, could not read one, or could not run.
    """
    # Checkov takes 40 characters of a path of this machine for a secret: it gets none.
    command = [str(Path(checkov).absolute()), "--directory", ".", "--framework", "cloudformation"]
    options = ["--output", "json", "--compact", "--quiet", "--skip-download", "--soft-fail"]
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout)
        summary = report["summary"]
    except (ValueError, TypeError, KeyError):
        message = f"checkov gave no report on {folder}: {done.stdout[-500:]}{done.stderr[-500:]}"
        raise NotCheckedError(message) from None
    if summary["parsing_errors"] or not summary["passed"]:
        message = f"checkov could not read the templates in {folder}: {summary}"
        raise NotCheckedError(message)
    return dict(report["results"])


def findings(report: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Yield the findings of a report on a folder, with the paths of the constructs."""
    for failed in report["failed_checks"]:
        stack = failed["file_path"].removeprefix("/").removesuffix(".template.json")
        logical_id = failed["resource"].rpartition(".")[2]
        path = _paths(folder, stack)[logical_id]
        yield Finding(folder.name, failed["check_id"], path, failed["check_name"])


def _paths(folder: Path, stack: str) -> Mapping[str, str]:
    """Return the paths of the constructs of a stack by their logical ids."""
    metadata = json.loads((folder / f"{stack}.metadata.json").read_text())
    return {
        entry["data"]: path.removeprefix("/")
        for path, entries in metadata.items()
        for entry in entries
        if entry["type"] == "aws:cdk:logicalId"
    }


def judge(found: Sequence[Finding], *, fork: bool = False) -> list[str]:
    """Return one sentence for each finding without a row, and for each row without a finding.

    In a fork, a row may be without a finding.
    """
    unaccepted = [
        f"{finding}. Change the stack, or add a row to stacks/findings.py."
        for finding in found
        if not finding.rows
    ]
    if fork:
        return unaccepted
    used = {row for finding in found for row in finding.rows}
    unused = [
        f"{row.rule} at {row.at} accepts nothing: delete the row from stacks/findings.py."
        for row in ACCEPTED
        if row.rule.startswith(PREFIX) and row not in used
    ]
    return unaccepted + unused


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2:
        print(__doc__)
        return 2
    checkov, *environments = arguments
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        found = [
            finding
            for folder in map(synthesise, environments)
            for finding in findings(run(checkov, folder), folder)
        ]
    except NotCheckedError as error:
        print(error)
        return 1
    problems = judge(found, fork=is_fork())
    print("\n".join(problems) or f"checkov: {len(found)} findings, each accepted.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
