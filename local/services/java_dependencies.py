"""Installs the jars of the Java services in `.jgo/`: exactly those in the lock files.

    python -m local.services.java_dependencies

installs the jars. `jgo lock` resolved each service once (`java/NAME/jgo.toml`) and wrote every jar
with its SHA-256 to `jgo.lock.toml`. Installing reads that list only and resolves nothing: each jar
comes from the Maven cache in the home directory or from the repositories of jgo's configuration,
and must have the recorded hash. A second install needs no network.

To move to another version, edit `jgo.toml` and run `jgo --resolver python lock` in its folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.services.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jgo.maven import Artifact, MavenContext

SERVICES = ("opensearch", "dynamodb-local")

_LOCKS = Path(__file__).parent / "java"
_INSTALLED = Path(__file__).parents[2] / ".jgo"
_LOCK_NAME = "jgo.lock.toml"
_DOWNLOADS_AT_ONCE = 8
_TIMEOUT_SECONDS = 60
_ATTEMPTS = 3
"""One refused request of some two hundred would end `make setup`; jgo does not repeat any."""


def class_path(name: str) -> str:
    """Return the Java class path of an installed service.

    Raises:
        ServiceError: It is not installed, or not as the lock file says.
    """
    folder = _INSTALLED / name
    if not _is_current(name):
        message = f"The jars of {name} are not installed: run `make setup`."
        raise ServiceError(message)
    return f"{folder}{os.sep}*"


def install(progress: Callable[[str], None] = print) -> None:
    """Install the jars of every service that lacks them.

    Raises:
        ServiceError: A jar cannot be fetched, or differs from the locked one.
    """
    for name in SERVICES:
        if _is_current(name):
            progress(f"{name}: the jars are installed")
        else:
            jars = _locked(name)
            progress(f"{name}: fetching {len(jars)} jars")
            _install(name, jars)


@dataclass(frozen=True)
class _Jar:
    """One line of the lock file."""

    group: str
    name: str
    version: str
    classifier: str
    sha256: str

    @property
    def file_name(self) -> str:
        return "-".join(filter(None, (self.name, self.version, self.classifier))) + ".jar"


def _is_current(name: str) -> bool:
    installed = _INSTALLED / name / _LOCK_NAME
    return installed.exists() and installed.read_bytes() == _lock(name).read_bytes()


def _lock(name: str) -> Path:
    return _LOCKS / name / _LOCK_NAME


def _locked(name: str) -> list[_Jar]:
    document: dict[str, Any] = tomllib.loads(_lock(name).read_text("utf-8"))
    return [
        _Jar(
            group=entry["groupId"],
            name=entry["artifactId"],
            version=entry["version"],
            classifier=entry.get("classifier", ""),
            sha256=entry["sha256"],
        )
        for entry in document["dependencies"]
        if entry["packaging"] == "jar"
    ]


def _install(name: str, jars: list[_Jar]) -> None:
    folder = _INSTALLED / name
    partial = _INSTALLED / f"{name}.{os.getpid()}.partial"
    context = _maven()
    try:
        partial.mkdir(parents=True)
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            for jar, path in zip(
                jars, pool.map(lambda jar: _fetch(context, jar), jars), strict=True
            ):
                shutil.copyfile(path, partial / jar.file_name)
        shutil.copyfile(_lock(name), partial / _LOCK_NAME)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        message = f"Cannot install the jars of {name}: {error}."
        raise ServiceError(message) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _maven() -> MavenContext:
    # Imported here: jgo imports much, and an installed service does not need it.
    import requests
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext
    from jgo.util import http

    # jgo opens a connection for each of four hundred requests: a session keeps eight.
    vars(http)["requests"] = requests.Session()
    settings = GlobalSettings.load()
    return MavenContext(
        repo_cache=Path(settings.repo_cache).expanduser(),
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        timeout=_TIMEOUT_SECONDS,
    )


def _fetch(context: MavenContext, jar: _Jar) -> Path:
    """Return the jar in the Maven cache, with the locked hash.

    An interrupted download leaves half a file in the cache under the jar's name: after a wrong
    hash, the jar is fetched again, as after a request that failed.
    """
    component = context.project(jar.group, jar.name).at_version(jar.version)
    artifact = component.artifact(classifier=jar.classifier)
    for failures in range(1, _ATTEMPTS + 1):
        try:
            path = _resolve(artifact, jar)
        except ServiceError:
            if failures == _ATTEMPTS:
                raise
            time.sleep(failures)
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256:
            return path
        path.unlink()
    message = f"{jar.file_name} is not the file that was locked: its SHA-256 differs."
    raise ServiceError(message)


def _resolve(artifact: Artifact, jar: _Jar) -> Path:
    try:
        path = artifact.resolve()
    except (OSError, RuntimeError) as error:
        message = f"Cannot fetch {jar.file_name}: {error}."
        raise ServiceError(message) from error
    if not path.exists():
        message = f"Cannot fetch {jar.file_name}: no repository has it."
        raise ServiceError(message)
    return path


if __name__ == "__main__":
    try:
        install()
    except ServiceError as error:
        sys.exit(str(error))
