"""A Chromium to test with: the one that you name, the machine's, or the one that npm installed."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
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


def executable() -> str:
    """Return the path of a Chromium.

    Raises:
        FileNotFoundError: there is none.
    """
    if named := os.environ.get("BROWSER"):
        if shutil.which(named) is None:
            message = f"BROWSER is {named}, which is not a program: name a Chromium or Chrome"
            raise FileNotFoundError(message)
        return named
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if not (FOLDER / "node_modules").is_dir():
        message = "there is no Chromium: run make test-browser, which installs one, or set BROWSER"
        raise FileNotFoundError(message)
    return subprocess.run(
        ["node", str(FOLDER / "chromium.mjs")], check=True, capture_output=True, text=True
    ).stdout.strip()
