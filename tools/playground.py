"""Build the playground into build/playground, or (`--serve`) build it and serve it on loopback.

    python -m tools.playground [--serve PORT]

A page without a server behind it: Pyodide and the editor come from npm, the library as a wheel of
this tree. `tools/docs.py` copies the folder into the site.
"""

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "playground"
MODULES = PAGE / "node_modules"
PYODIDE = ROOT / "node_modules" / "pyodide"
OUTPUT = ROOT / "build" / "playground"
PORT = 8137
DOCS = ROOT / "docs"

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


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing.

    On the site the links of the page lead to other pages; here to the same, without their look.
    """

    def do_GET(self) -> None:
        """Send a file, or a page of the documentation."""
        source = source_of(self.path.partition("?")[0])
        if source is None:
            super().do_GET()
            return
        is_page = source.suffix == ".md"
        text = (page(source) if is_page else source.read_text()).encode()
        self.send_response(200)
        self.send_header("Content-Type", f"text/{'html' if is_page else 'plain'}; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def source_of(path: str) -> Path | None:
    """Return the file in `DOCS` of a path: that of a page, or one that a page links to, or None."""
    name = path.strip("/")
    source = (DOCS / (f"{name}.md" if path.endswith("/") else name)).resolve()
    is_sent = path.endswith("/") or source.suffix in {".py", ".yaml"}
    return source if is_sent and source.is_relative_to(DOCS) and source.is_file() else None


def page(source: Path) -> str:
    """Return a page of the documentation as HTML, with links as the server has them."""
    text = source.read_text().replace('href="../playground/', 'href="/')
    body = MarkdownIt("commonmark").enable("table").render(text)
    body = _HEADING.sub(lambda found: f'<{found[1]} id="{_slug(found[2])}">{found[2]}<', body)
    body = _LINK.sub(lambda found: _link(source, found[1], found[2]), body)
    title = text.partition("# ")[2].partition("\n")[0]
    return PAGE_OF_DOCS.format(title=title, body=body)


_HEADING = re.compile(r"<(h[2-4])>(.+)<")


def _slug(heading: str) -> str:
    plain = re.sub(r"<[^>]+>|[^\w\s-]", "", heading.lower())
    return re.sub(r"\s+", "-", plain.strip())


_LINK = re.compile(r'href="([^":#]+\.(?:md|py|yaml))(#[^"]*)?"')


def _link(source: Path, path: str, place: str | None) -> str:
    target = (source.parent / path).resolve().relative_to(DOCS)
    place_of_page = f"{target.with_suffix('')}/{place or ''}"
    return f'href="/{place_of_page if target.suffix == ".md" else target}"'


PAGE_OF_DOCS = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<main class="docs">
<p><a href="/">Back to the playground</a></p>
{body}
</main>
"""


def server(port: int, folder: Path = OUTPUT) -> http.server.ThreadingHTTPServer:
    """Return a server of a folder on loopback; port 0 takes any that is free."""
    handler = functools.partial(Handler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(arguments: list[str]) -> int:
    """Build, and serve if asked to; return the exit status."""
    match arguments:
        case [] | ["--serve"] | ["--serve", _]:
            pass
        case _:
            print(__doc__)
            return 2
    build()
    print(f"{OUTPUT.relative_to(ROOT)}: {weight() / 1e6:.1f} MB")
    if not arguments:
        return 0
    port = arguments[1] if len(arguments) > 1 else str(PORT)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        print(f"The port is {port!r}: give a number from 1 to 65535.")
        return 2
    try:
        with server(int(port)) as served:
            print(f"http://127.0.0.1:{served.server_port}/  (Ctrl-C ends it)", flush=True)
            served.serve_forever()
    except OSError as error:
        print(f"Port {port} cannot be used ({error.strerror}): choose another, as in PORT=8200.")
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
