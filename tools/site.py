"""Build the site in build/site and serve it on loopback.

    python -m tools.site [PORT]

It has the pages of `docs`, and the playground in `playground/`. `python -m tools.docs --build`
checks the pages as well.
"""

import functools
import http.server
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import playground

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "site"
PORT = 8137


def build(*options: str) -> bool:
    """Build the site with these options of Zensical; print what it says, return whether it is good.

    Zensical keeps what it read of the pages, so that a second build takes a second.
    """
    found = subprocess.run(
        [sys.executable, "-m", "zensical", "build", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(found.stdout, end="")
    # Strict mode does not count the findings of mkdocstrings.
    if found.returncode or ("--strict" in options and "mkdocstrings:" in found.stdout):
        return False
    shutil.copytree(playground.build(), SITE / "playground", dirs_exist_ok=True)
    if lost := list(lost_links(SITE)):
        print(f"Links to the playground lead nowhere on the site: {', '.join(lost)}")
    return not lost


def lost_links(site: Path) -> Iterator[str]:
    """Yield each page of a site with a link to the playground that leads nowhere.

    Zensical resolves links of raw HTML as those of Markdown
    (https://github.com/zensical/zensical/pull/571).
    """
    for page in sorted(site.rglob("*.html")):
        for link in re.findall(r'href="((?:\.\./)+playground/)', page.read_text()):
            if not (page.parent / link / "index.html").exists():
                yield f"{page.relative_to(site)}: {link}"


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def server(port: int, folder: Path = SITE) -> http.server.ThreadingHTTPServer:
    """Return a server of a folder on loopback; port 0 takes any that is free."""
    handler = functools.partial(Handler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(arguments: list[str]) -> int:
    """Build the site and serve it; return the exit status."""
    if len(arguments) > 1:
        print(__doc__)
        return 2
    port = arguments[0] if arguments else str(PORT)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        print(f"The port is {port!r}: give a number from 1 to 65535.")
        return 2
    try:
        served = server(int(port))
    except OSError as error:
        print(f"Port {port} cannot be used ({error.strerror}): choose another, as in PORT=8200.")
        return 1
    try:
        with served:
            if not build():
                return 1
            address = f"http://127.0.0.1:{served.server_port}/"
            print(f"{address} (Ctrl-C ends it)", flush=True)
            served.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
