"""Bring the Java engines' jars into `.jgo/`, exactly those that the lock files name.

`jgo lock` resolved each engine once (`java/<engine>/jgo.toml`) and wrote every jar with its SHA-256
into `jgo.lock.toml` beside it. Installing reads that list alone: nothing is resolved again, each
jar comes from the Maven cache in the home directory or from the repositories of jgo's
configuration, and must have the recorded hash. A second install needs no network.

To move to another version, edit `jgo.toml` and run `jgo --resolver python lock` beside it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.services.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jgo.maven import Artifact, MavenContext

ENGINES = ("opensearch", "dynamodb-local")

_LOCKS = Path(__file__).parent / "java"
_INSTALLED = Path(__file__).parents[2] / ".jgo"
_LOCK_NAME = "jgo.lock.toml"
_DOWNLOADS_AT_ONCE = 8
_TIMEOUT_SECONDS = 60


def class_path(engine: str) -> str:
    """The Java class path of an installed engine.

    Raises:
        EngineError: It is not installed, or not as the lock file says.
    """
    folder = _INSTALLED / engine
    if not _is_current(engine):
        message = f"The jars of {engine} are not installed: run `make setup`."
        raise EngineError(message)
    return f"{folder}{os.sep}*"


def install(progress: Callable[[str], None] = print) -> None:
    """Install the jars of every engine that lacks them.

    Raises:
        EngineError: A jar cannot be had, or is not the one that was locked.
    """
    for engine in ENGINES:
        if _is_current(engine):
            progress(f"{engine}: the jars are there")
        else:
            jars = _locked(engine)
            progress(f"{engine}: fetching {len(jars)} jars")
            _install(engine, jars)


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


def _is_current(engine: str) -> bool:
    installed = _INSTALLED / engine / _LOCK_NAME
    return installed.exists() and installed.read_bytes() == _lock(engine).read_bytes()


def _lock(engine: str) -> Path:
    return _LOCKS / engine / _LOCK_NAME


def _locked(engine: str) -> list[_Jar]:
    document: dict[str, Any] = tomllib.loads(_lock(engine).read_text("utf-8"))
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


def _install(engine: str, jars: list[_Jar]) -> None:
    folder = _INSTALLED / engine
    partial = _INSTALLED / f"{engine}.{os.getpid()}.partial"
    context = _maven()
    try:
        partial.mkdir(parents=True)
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            for jar, path in zip(
                jars, pool.map(lambda jar: _fetch(context, jar), jars), strict=True
            ):
                shutil.copyfile(path, partial / jar.file_name)
        shutil.copyfile(_lock(engine), partial / _LOCK_NAME)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        message = f"Cannot install the jars of {engine}: {error}."
        raise EngineError(message) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _maven() -> MavenContext:
    # Imported here: jgo pulls in much, and an installed engine does not need it.
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    return MavenContext(
        repo_cache=Path(settings.repo_cache).expanduser(),
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        timeout=_TIMEOUT_SECONDS,
    )


def _fetch(context: MavenContext, jar: _Jar) -> Path:
    """The jar in the Maven cache, with the locked hash.

    A download that was interrupted leaves half a file in the cache under the jar's own name: a
    wrong hash is met by fetching once more.
    """
    component = context.project(jar.group, jar.name).at_version(jar.version)
    artifact = component.artifact(classifier=jar.classifier)
    for _ in range(2):
        path = _resolve(artifact, jar)
        if hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256:
            return path
        path.unlink()
    message = f"{jar.file_name} is not the file that was locked: its SHA-256 differs."
    raise EngineError(message)


def _resolve(artifact: Artifact, jar: _Jar) -> Path:
    try:
        path = artifact.resolve()
    except (OSError, RuntimeError) as error:
        message = f"Cannot fetch {jar.file_name}: {error}."
        raise EngineError(message) from error
    if not path.exists():
        message = f"Cannot fetch {jar.file_name}: no repository has it."
        raise EngineError(message)
    return path
