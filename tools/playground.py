"""Build the playground into build/playground; `tools.site` copies the folder into the site.

A page without a server behind it: Pyodide and the editor come from npm, the library as a wheel of
this tree.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "playground"
MODULES = PAGE / "node_modules"
PYODIDE = ROOT / "node_modules" / "pyodide"
OUTPUT = ROOT / "build" / "playground"

RUNTIME = (
    "pyodide.js",
    "pyodide.asm.js",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)
"""The files of Pyodide that a page needs which installs nothing."""

A_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the same tree gives the same bytes."""


def build() -> Path:
    """Build the page; return its folder."""
    missing = [path for path in (MODULES, PYODIDE) if not path.is_dir()]
    if missing:
        message = f"{missing[0].relative_to(ROOT)} is missing: make playground installs it"
        raise SystemExit(message)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    for name in RUNTIME:
        shutil.copy(PYODIDE / name, OUTPUT / name)
    wheel = _wheel()
    _archive(OUTPUT / "lab.zip", _lab_files())
    shutil.copy(PAGE / "style.css", OUTPUT / "style.css")
    html = (PAGE / "index.html").read_text()
    (OUTPUT / "index.html").write_text(html.replace("<html ", f'<html data-wheel="{wheel}" ', 1))
    (OUTPUT / "licenses.txt").write_text(licences())
    _bundle()
    _offline()
    return OUTPUT


def _offline() -> None:
    """Write the service worker, which knows every file of the page."""
    names = ["./", *sorted(path.name for path in OUTPUT.iterdir())]
    text = (PAGE / "src" / "offline.js").read_text()
    text = text.replace('["FILES"]', json.dumps(names)).replace("FINGERPRINT", fingerprint())
    (OUTPUT / "offline.js").write_text(text)


def _wheel() -> str:
    """Build the library's wheel; return its name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(OUTPUT)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = OUTPUT.glob("*.whl")
    return wheel.name


def _lab_files() -> Iterator[tuple[str, bytes]]:
    for path in sorted(PAGE.rglob("*")):
        inside = path.relative_to(PAGE)
        if path.suffix in (".py", ".json") and inside.parts[0] in ("lab", "presets", "__init__.py"):
            yield f"playground/{inside}", path.read_bytes()


def _archive(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, A_DATE), content, zipfile.ZIP_DEFLATED)


def _bundle() -> None:
    """Bundle the scripts; the worker is text in them, which the page makes a worker of."""
    subprocess.run(
        [
            str(MODULES / ".bin" / "esbuild"),
            "src/main.js",
            "--bundle",
            "--minify",
            "--format=iife",
            "--target=es2023",
            "--legal-comments=none",
            "--log-level=warning",
            f"--outfile={OUTPUT / 'app.js'}",
        ],
        cwd=PAGE,
        check=True,
    )


def licences() -> str:
    """Return the licence texts of everything that the page contains."""
    parts = [f"dynamodb-streams-cdc\n\n{(ROOT / 'LICENSE').read_text()}"]
    parts.append(RUNTIME_LICENCES.format(version=_package(PYODIDE)["version"]))
    for folder in sorted(_bundled()):
        [path] = folder.glob("LICEN[CS]E*")
        parts.append(f"{str(folder).rpartition('node_modules/')[2]}\n\n{path.read_text()}")
    return f"\n\n{'-' * 72}\n\n".join(parts)


def _package(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "package.json").read_text())
    return found


RUNTIME_LICENCES = """\
Pyodide {version}, unchanged: pyodide.js, pyodide.asm.js, pyodide.asm.wasm, python_stdlib.zip

Pyodide is under the Mozilla Public License 2.0, https://mozilla.org/MPL/2.0/.
Its source is at https://github.com/pyodide/pyodide/tree/{version}.

pyodide.asm.wasm and python_stdlib.zip contain CPython, under the Python Software Foundation License
Version 2, and what CPython includes: https://docs.python.org/3/license.html has every text.
Copyright (c) 2001 Python Software Foundation; All Rights Reserved.

pyodide.asm.js contains parts of Emscripten, under the MIT License and the University of
Illinois/NCSA License: https://github.com/emscripten-core/emscripten/blob/main/LICENSE.
"""


def _bundled() -> Iterator[Path]:
    """Yield the folders of the packages that go into the bundle."""
    for scope in ("@codemirror", "@lezer", "@marijn"):
        yield from (path for path in (MODULES / scope).glob("*") if path.is_dir())
    for name in ("crelt", "style-mod", "w3c-keyname"):
        yield MODULES / name


def weight() -> int:
    """Return the bytes of the page."""
    return sum(path.stat().st_size for path in OUTPUT.rglob("*") if path.is_file())


def fingerprint() -> str:
    """Return a hash of the page."""
    digest = hashlib.sha256()
    for path in sorted(OUTPUT.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
