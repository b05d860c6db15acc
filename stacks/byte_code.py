"""Compile the package, so that functions do not compile it at each cold start.

Lambda's copy of a package is read-only: without byte code Python compiles every module at each cold
start. That takes 2.8 to 3.0 times the processor time of the imports: 0.57 s instead of 0.20 s for
aggregation and audit, 0.74 s instead of 0.24 s for search (median of 11 turns, each in a new
process, `python -B`, Python 3.11, two shared cores).

Byte code belongs to one version of Python, and the builder's is rarely the one in Lambda. So
CPython for WebAssembly (Pyodide, from npm) compiles for AWS: it writes the same bytes on every
machine. The byte code is not compared with its source when it is loaded, because the uploaded
archive does not keep dates.
"""

import compileall
import os
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Literal

from stacks.errors import SynthError

PYTHON = "3.13"
"""Python version of the functions in AWS: see RUNTIME in stacks/constructs/function.py."""

IDENTITY = f"byte code of {PYTHON}, unchecked"

_PROGRAM = f"""
import sys
assert sys.version.startswith("{PYTHON}."), "Pyodide has Python " + sys.version
from py_compile import PycInvalidationMode
import compileall
compileall.compile_dir(
    "/package", quiet=2, stripdir="/package", prependdir="/var/task",
    invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
)
"""
_RUNNER = Path(__file__).with_suffix(".mjs")


class ByteCodeError(SynthError):
    """The package cannot be compiled."""


def compile_folder(folder: Path, platform: Literal["aws", "host"]) -> None:
    """Write the byte code of every module in a folder; skip files that are not valid Python.

    Raises:
        ByteCodeError: Pyodide is missing, or is another version of Python.

    """
    if platform == "host":
        compileall.compile_dir(
            folder,
            quiet=2,
            stripdir=str(folder),
            prependdir="/var/task",
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        return
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        subprocess.run(
            ["node", str(_RUNNER), str(folder), _PROGRAM],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": search_path},
        )
    except FileNotFoundError:
        message = "Node is not installed: run make setup."
        raise ByteCodeError(message) from None
    except subprocess.CalledProcessError as error:
        missing = "ERR_MODULE_NOT_FOUND" in error.stderr
        reason = "run make setup." if missing else error.stderr.strip().splitlines()[-1]
        message = f"Pyodide could not compile the package for Python {PYTHON}: {reason}"
        raise ByteCodeError(message) from None
