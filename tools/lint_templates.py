"""Run checkov on synthesised templates; compare its findings with the table of accepted ones.

    python -m tools.lint_templates CHECKOV FOLDER...

CHECKOV is the script, in an environment of its own: its dependencies contradict this project's.
Each FOLDER is the output of `cdk synth` for one environment and has its name. Exits with 1 if a
finding has no row in stacks/findings.py, or a row for checkov accepts nothing.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.findings import ACCEPTED, Accepted, rows_for

PREFIX = "CKV"


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


def run(checkov: str, folder: Path) -> Mapping[str, Any]:
    """Return checkov's report on the templates in a folder.

    Raises:
        NotCheckedError: it found no template, could not read one, or could not run.
    """
    command = [checkov, "--directory", str(folder), "--framework", "cloudformation"]
    options = ["--output", "json", "--compact", "--quiet", "--skip-download", "--soft-fail"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
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


def judge(found: Sequence[Finding]) -> list[str]:
    """Return one sentence for each finding without a row, and for each row without a finding."""
    unaccepted = [
        f"{finding}. Change the stack, or add a row to stacks/findings.py."
        for finding in found
        if not finding.rows
    ]
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
    checkov, *folders = arguments
    try:
        found = [
            finding
            for folder in map(Path, folders)
            for finding in findings(run(checkov, folder), folder)
        ]
    except NotCheckedError as error:
        print(error)
        return 1
    problems = judge(found)
    print("\n".join(problems) or f"checkov: {len(found)} findings, each accepted.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
