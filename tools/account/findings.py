"""Findings of the preflight: one sentence each, with the fix."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tools.account.identity import Account, AccountError

Level = Literal["ok", "warning", "blocking", "unknown"]
_LABELS: dict[Level, str] = {
    "ok": "ok       ",
    "warning": "warning  ",
    "blocking": "BLOCKING ",
    "unknown": "unchecked",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check.

    `blocking` means that a deploy fails or breaks something, `unknown` that it was not checked.
    """

    check: str
    level: Level
    sentence: str

    def __str__(self) -> str:
        return f"{_LABELS[self.level]}  {self.sentence}"


def stops(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "blocking" for finding in findings)


def refuse_blocking(findings: Iterable[Finding], say: Callable[[str], object]) -> None:
    """Print the findings before a deploy.

    Raises:
        AccountError: One of them is blocking.
    """
    findings = list(findings)
    for finding in findings:
        say(str(finding))
    if stops(findings):
        message = "Not deployed: fix the BLOCKING findings above first."
        raise AccountError(message)


def as_json(account: Account, environment: str, findings: Sequence[Finding]) -> str:
    return json.dumps(
        {
            "account": account.number,
            "region": account.region,
            "identity": account.arn,
            "environment": environment,
            "deployable": not stops(findings),
            "findings": [asdict(finding) for finding in findings],
        },
        indent=2,
    )
