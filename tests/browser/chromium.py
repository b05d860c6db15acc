"""A Chromium to test with: the one that you name, the machine's, or the one that npm installed."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
UNPACKED = FOLDER.parents[1] / "build" / "chromium"
NPM = "npm"
"""Value of BROWSER for the Chromium of npm."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = [
    "--no-sandbox",  # root has none, and the pages are this repository's
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> tuple[str, dict[str, str]]:
    """Return the path of a Chromium, and the environment that it starts in.

    Raises:
        FileNotFoundError: there is none.
    """
    named = os.environ.get("BROWSER")
    if named == NPM:
        return _of_npm()
    if named:
        if shutil.which(named) is None:
            message = f"BROWSER is {named}, which is not a program: name a Chromium, or {NPM}"
            raise FileNotFoundError(message)
        return named, dict(os.environ)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return (found, dict(os.environ)) if found else _of_npm()


def _of_npm() -> tuple[str, dict[str, str]]:
    """Unpack the Chromium of npm and the libraries that come with it."""
    if not (FOLDER / "node_modules").is_dir():
        message = "there is no Chromium: run make test-browser, which installs one, or set BROWSER"
        raise FileNotFoundError(message)
    UNPACKED.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(UNPACKED)}
    path, libraries = subprocess.run(
        ["node", str(FOLDER / "chromium.mjs")],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout.split()
    return path, {**os.environ, "LD_LIBRARY_PATH": libraries}
