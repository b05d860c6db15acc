"""How long a synth takes, and how large the package is that the functions are deployed from.

The synth is the command line's, with a process of its own, as `make synth` runs it: the package is
there already. Sizes are those of the package for AWS, unpacked and as the archive that is uploaded.
"""

import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from benchmarks.harness.common import Options, Row
from local.deployed.deployment import ROOT, cdk_environment
from local.services import loopback
from stacks.packaging import fetch, package

REPEATS = 3


def run(options: Options) -> list[Row]:
    """Synthesise, and look at the package."""
    fetch("aws")
    folder = package("aws")
    seconds = [_synth() for _ in range(options.repeats or REPEATS)]
    files = [file for file in folder.rglob("*") if file.is_file()]
    unpacked = sum(file.stat().st_size for file in files)
    return [
        Row("build", "synth", "s", seconds),
        Row("build", "package, unpacked", "MB", [unpacked / 1e6]),
        Row("build", "package, as uploaded", "MB", [_zipped(folder, files) / 1e6]),
    ]


def _synth() -> float:
    with tempfile.TemporaryDirectory(prefix="cdc-synth-") as output:
        began = time.perf_counter()
        subprocess.run(
            [
                *(ROOT / "node_modules" / ".bin" / "cdk", "synth", "--quiet", "--no-notices"),
                *("--context", "environment=sandbox", "--output", output),
            ],
            cwd=ROOT,
            env={**loopback.clean(), "PATH": cdk_environment("")["PATH"]},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )
        return time.perf_counter() - began


def _zipped(folder: Path, files: list[Path]) -> int:
    with tempfile.TemporaryFile() as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
        return target.tell()
