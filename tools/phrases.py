"""Find phrases that this project does not use, and name the better ones.

    python -m tools.phrases

prints FILE:LINE: PHRASE -> BETTER, and exits with 1 if there are any.

Two kinds: words that the project has replaced by the field's own, and literal translations. Text is
matched without case, across line ends, and with identifiers taken apart: `DeadLetterStore` and
`dead_letter_store` both read "dead letter store".
"""

import re
import subprocess
import sys
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

RULES: Mapping[str, str] = {
    # Words that were replaced
    r"letter box(es)?": "dead-letter store",
    r"(?<!dead[ -])letters?": "dead letter",
    r"bells?|rung|ringing|silenced": "notification; cleared, remaining",
    r"rings?": "fires (of an alarm)",
    r"(?<!retry )budgets?": "deadline",
    r"weather|(?-i:strikes)|unrest|storms?": "fault injection, fault",
    r"aftermath": "recovery",
    r"remedy|remedies": "fix",
    r"adopt(s|ed|ing)?": "take over",
    r"(?<!number )(?<!decimal\.)overflow(?!=)(?! error)": "claim check, large image",
    r"stale,? but newer": "version order violation",
    r"outage error": "RetryableError",
    r"contention error": "ConflictError",
    r"(?-i:Held Back)": "BlockedByEarlierFailure",
    r"(?-i:Out Of Time)": "DeadlineExceeded",
    r"search sync": "search",
    # Literal translations
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"beside": "compared with, in addition to, next to",
    r"mostly": "usually, mainly",
    r"whoever": "the program, person or role by name",
    r"whatever": "any, every",
    r"nobody|somebody": "no one, a person, a program",
    r"what became of": "the result of",
    r"(?<!there )is no (?!longer|more|one)": "is not a",
    r"held against": "compared with",
    r"stands in(?! the way)|lies in": "is in",
}
"""Patterns between word boundaries, and the better words."""

_STORED = "The attribute's name in stored log entries."
ALLOWED: Mapping[tuple[str, str], str] = {
    ("exercises/checks/__main__.py", "search sync"): "The module `search_sync`.",
    ("local/verify/deployed_copies.py", "overflow"): _STORED,
    ("local/verify/audit.py", "overflow"): _STORED,
    ("src/dynamodb_streams_cdc/aws/opensearch_errors.py", "is no"): "OpenSearch's message.",
    ("src/dynamodb_streams_cdc/sinks/change_log.py", "overflow"): _STORED,
    ("src/dynamodb_streams_cdc/sinks/log_entries.py", "overflow"): _STORED,
    ("stacks/findings.py", "overflow"): "The CDK's name of a policy.",
    ("tests/infrastructure/test_best_practices.py", "overflow"): "The CDK's name of a policy.",
    ("tests/infrastructure/test_permissions.py", "overflow"): _STORED,
    ("tests/lambdas/test_stream_handlers.py", "overflow"): _STORED,
    ("tests/unit/test_deployed_copies.py", "overflow"): _STORED,
}
"""A file and a phrase in it that stays, with the reason."""

OWN = [Path(name) for name in ("tools/phrases.py", "tests/docs/test_phrases.py", "CHANGELOG.md")]
"""Files that name the phrases."""

DOMAIN = Path("lambdas/domain")
"""The words of a fork's own domain are its own: a budget, a letter, a storm."""

SHOWN = re.compile(r"^<!-- (?:code|story|diagram|output|text|bench): .*?^```$", re.M | re.S)
"""What pages show of other files, which are read themselves."""


@dataclass(frozen=True, order=True)
class Finding:
    """A phrase in a line of a file."""

    path: str
    line: int
    phrase: str
    better: str

    def __str__(self) -> str:
        """Return the finding as linters print theirs."""
        return f"{self.path}:{self.line}: {self.phrase} -> {self.better}"


def files() -> list[Path]:
    """Return the files that people write: Python, Markdown and the Makefile."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = [Path(name) for name in listed]
    return [
        path
        for path in paths
        if (path.suffix in (".py", ".md") or path.name == "Makefile")
        and path not in OWN
        and not path.is_relative_to(DOMAIN)
        and (ROOT / path).exists()
        and not (ROOT / path).read_text().startswith("<!-- Written by")
    ]


def findings(path: str, text: str) -> Iterator[Finding]:
    """Yield the phrases in a text that no row of `ALLOWED` permits."""
    if path.endswith(".md"):
        text = SHOWN.sub(lambda match: "\n" * match[0].count("\n"), text)
    lines = [_words(line) for line in text.splitlines()]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    joined = " ".join(lines)
    for pattern, better in RULES.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", joined, re.IGNORECASE):
            phrase = match[0].lower().strip()
            if (path, phrase) not in ALLOWED:
                yield Finding(path, bisect(starts, match.start()), phrase, better)


def _words(line: str) -> str:
    """Return a line's words, with one space between them and identifiers taken apart."""
    bare = re.sub(r'^\s*(?:#|[rf]?"+|[*>-] )?\s*', "", line)
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", bare)
    return " ".join(re.sub(r"[\"'`*]", "", parted).split())


def all_findings() -> list[Finding]:
    """Return the findings of all files."""
    return sorted(
        finding for path in files() for finding in findings(str(path), (ROOT / path).read_text())
    )


def main() -> int:
    found = all_findings()
    for finding in found:
        print(finding)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
