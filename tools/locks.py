"""Resolve the lock files from pyproject.toml, or (`--check`) say whether they still match it.

Files with hashes, that plain pip can install too: what synth and deploy need, what the functions
are packaged with, and everything. The last one comes first and constrains the others, so that one
version of a package serves everywhere.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
EVERYTHING = "requirements-dev.txt"
LOCKS = {
    EVERYTHING: ["--group", "dev", "--extra", "aws", "--extra", "search", "--extra", "cli"],
    "requirements.txt": ["--group", "infrastructure"],
    "lambdas/requirements.txt": ["--group", "lambdas"],
}


def resolve(name: str, output: Path, *, upgrade: bool) -> None:
    """Write one lock file, keeping its versions unless `upgrade`."""
    subprocess.run(
        [
            *("uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal"),
            *("--generate-hashes", "--no-header", "--no-annotate", "--python-version", "3.11"),
            *LOCKS[name],
            *([] if name == EVERYTHING else ["--constraint", EVERYTHING]),
            *(["--upgrade"] if upgrade else []),
            *("--output-file", str(output)),
        ],
        cwd=ROOT,
        check=True,
    )


def drifted() -> list[str]:
    """Return the lock files that pyproject.toml no longer leads to."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in LOCKS:
            copy = Path(folder) / Path(name).name
            held = (ROOT / name).read_text()
            copy.write_text(held)
            resolve(name, copy, upgrade=False)
            if copy.read_text() != held:
                found.append(name)
    return found


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        names = drifted()
        if names:
            print(f"{', '.join(names)} no longer match pyproject.toml: run `make lock`.")
        return len(names)
    for name in LOCKS:
        resolve(name, ROOT / name, upgrade=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
