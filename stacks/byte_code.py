"""Compiles what is packaged, so that no function compiles it at each of its cold starts.

Lambda's copy of a package is read-only: Python would compile every module again whenever a function
starts, and throw the byte code away. It belongs to one version of Python, and the builder's is
rarely the one in Lambda; so CPython for WebAssembly, from npm, compiles for AWS. It is the same
program on every machine, and the same sources give the same bytes.

The byte code is not compared with its source when it is loaded: dates do not survive the archive
that is uploaded, and both were packaged together.
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
"""What the functions run on in AWS: see RUNTIME in stacks/constructs/stream_processor.py."""

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
    """What is to be packaged cannot be compiled."""


def compile_folder(folder: Path, platform: Literal["aws", "host"]) -> None:
    """Put byte code beside every module in a folder, except those that are no valid Python.

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
