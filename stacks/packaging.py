"""Build the functions' package, without Docker and without a CDK bundling hook.

`fetch` downloads the locked dependencies once per platform; it alone needs a network. `package`
puts them together with the sources in `build/lambda/<platform>/`, byte-identical for the same
inputs and skipped when nothing changed. Both add byte code to what they add, build next to their
target and rename: a build that is killed leaves the old folder or none, never half of one.

    python -m stacks.packaging [aws] [host]
"""

import fcntl
import hashlib
import os
import platform as machine
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from stacks.byte_code import IDENTITY, PYTHON, compile_folder
from stacks.errors import SynthError

Platform = Literal["aws", "host"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
# The functions' runtime and architecture are set in stacks/constructs/function.py.
# It runs on Amazon Linux 2023, whose C library is glibc 2.34: wheels for 2.28 run there as well.
# https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html
AWS_TARGET = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", PYTHON)
IGNORED = ("__pycache__", "*.pyc", ".DS_Store", "requirements.txt")
NOT_DEPLOYED = tuple(
    f"dynamodb_streams_cdc/{wing}" for wing in ("cli", "esm", "examples", "testing")
)
"""The wings of the library that a person at a terminal and testers run. The maintenance function
runs `operations`. A folder of any other package is packaged, under any name."""
STORIES = tuple(
    f"lambdas/{domain}/{stories}"
    for domain in ("domain", "example_domain")
    for stories in ("stories.py", "stories")
)
"""Sample stories of the domains, which the demo and the rehearsals play."""

KEPT: Mapping[str, frozenset[str]] = {
    # botocore describes more than 400 services in 27 MB. The functions have clients of four; the
    # other files say, for any client, where endpoints are and what is retried. Credentials come
    # from the environment: no client of STS or SSO is made for them.
    "botocore/data": frozenset(
        {
            *("dynamodb", "lambda", "s3", "sns"),
            *("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"),
        }
    ),
}
"""Folders of dependencies, with the names in them that are packaged."""

DROPPED = (
    "botocore/cacert.pem",  # for want of certifi, which opensearch-py brings
    "botocore/data/*/*/examples-1.json",  # for documentation
    # One call of Lambda is made: no page of it is turned, and nothing is waited for.
    "botocore/data/lambda/2014-11-11/*",
    "botocore/data/lambda/*/paginators-1.*",
    "botocore/data/lambda/*/waiters-2.json",
)
"""Files of the dependencies that are not packaged. No function may need them: see
tests/infrastructure/field_facts/test_06_*.py, which starts each with nothing but its package."""

MODES = "files 644, folders and programs 755"
"""Permissions of the package, with any umask of the builder: Lambda's user is not the owner, and
reads what others may read.
https://repost.aws/knowledge-center/lambda-deployment-package-errors"""

Install = Callable[[Path, Path, Platform], None]
Compile = Callable[[Path, Platform], None]


class PackagingError(SynthError):
    """The functions' package cannot be built."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """Where the inputs are and where the outputs go."""

    root: Path = field(default_factory=lambda: Path(__file__).resolve().parent.parent)
    sources: tuple[str, ...] = ("lambdas", "src/dynamodb_streams_cdc")
    requirements: str = "lambdas/requirements.txt"
    compile: Compile = compile_folder

    @property
    def lock_file(self) -> Path:
        return self.root / self.requirements

    @property
    def source_folders(self) -> tuple[Path, ...]:
        return tuple(self.root / source for source in self.sources)

    def dependencies(self, platform: Platform) -> Path:
        trimmed = {folder: sorted(names) for folder, names in KEPT.items()}
        digest = hashlib.sha256(f"{_identity(platform)} {trimmed} {DROPPED}".encode())
        digest.update(self.lock_file.read_bytes())
        return self.root / "build" / "dependencies" / f"{platform}-{digest.hexdigest()[:16]}"

    def target(self, platform: Platform) -> Path:
        return self.root / "build" / "lambda" / platform


def install_with_uv(lock_file: Path, target: Path, platform: Platform) -> None:
    """Install the lock file's packages, wheels only, hashes checked."""
    where = AWS_TARGET if platform == "aws" else ("--python", sys.executable)
    command = ["uv", "pip", "install", "--quiet", "--requirement", str(lock_file)]
    command += ["--target", str(target), *where, "--only-binary", ":all:", "--no-deps"]
    command += ["--require-hashes", "--link-mode", "copy"]
    command += ["--no-installer-metadata", "--no-compile-bytecode"]
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        subprocess.run(command, check=True, env={**os.environ, "PATH": search_path})
    except FileNotFoundError:
        message = "uv is not installed: run make setup."
        raise PackagingError(message) from None
    except subprocess.CalledProcessError as error:
        message = (
            f"The dependencies in {lock_file} could not be installed for {platform}: uv exited "
            f"with status {error.returncode} and said why above; they need the package registry."
        )
        raise PackagingError(message) from None


def fetch(
    platform: Platform, project: Project | None = None, install: Install = install_with_uv
) -> Path:
    """Return the folder of the platform's dependencies, downloading them where they are missing."""
    project = project or Project()
    dependencies = project.dependencies(platform)
    with _locked(project, platform):
        if not dependencies.is_dir():
            with _draft_of(dependencies) as draft:
                install(project.lock_file, draft, platform)
                _trim(draft)
                project.compile(draft, platform)
                _set_modes(draft)
                draft.replace(dependencies)
    return dependencies


def package(platform: Platform, project: Project | None = None) -> Path:
    """Return the folder that the functions are deployed from, building it where it is stale.

    Raises:
        PackagingError: if the dependencies have not been fetched.

    """
    project = project or Project()
    dependencies, target = project.dependencies(platform), project.target(platform)
    if not dependencies.is_dir():
        message = (
            f"The dependencies in {project.requirements} have not been fetched for {platform}: "
            "run make setup."
        )
        raise PackagingError(message)
    # Next to the folder: every file in it becomes part of the deployed asset.
    stamp = target.with_name(f"{platform}.stamp")
    with _locked(project, platform):
        inputs = _fingerprint(dependencies.name, project)
        if not (target.is_dir() and stamp.is_file() and stamp.read_text() == inputs):
            with _draft_of(target) as draft:
                for folder in project.source_folders:
                    for file in _sources(folder):
                        copy = draft / file.relative_to(folder.parent)
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(file, copy)
                project.compile(draft, platform)
                shutil.copytree(dependencies, draft, dirs_exist_ok=True)
                _set_modes(draft)
                stamp.unlink(missing_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                draft.replace(target)
            stamp.write_text(inputs)
    return target


def _identity(platform: Platform) -> str:
    if platform == "aws":
        return " ".join((*AWS_TARGET, IDENTITY, MODES))
    host = (sys.implementation.cache_tag, machine.system(), machine.machine(), IDENTITY, MODES)
    return " ".join(map(str, host))


def _set_modes(folder: Path) -> None:
    """Give a folder and all in it the permissions of `MODES`."""
    for path in (folder, *folder.rglob("*")):
        is_run = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if is_run else 0o644)


def _trim(folder: Path) -> None:
    """Remove files that no function needs, and files that differ between machines.

    Scripts begin with the builder's path. The RECORD files list the files that are left.
    """
    needless = [folder / "bin", folder / ".lock", *folder.rglob("__pycache__")]
    for kept_of, names in KEPT.items():
        needless += [path for path in folder.glob(f"{kept_of}/*") if path.name not in names]
    for pattern in DROPPED:
        needless += folder.glob(pattern)
    for path in needless:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for record in folder.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        kept = [line for line in lines if (folder / line.partition(",")[0]).exists()]
        record.write_text("".join(sorted(kept)))


def _fingerprint(dependencies: str, project: Project) -> str:
    digest = hashlib.sha256(dependencies.encode())
    for folder in project.source_folders:
        for file in _sources(folder):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(project.root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    """Return the files of a source folder that are deployed."""
    for file in _files(folder):
        path = file.relative_to(folder.parent)
        if not any(path.is_relative_to(wing) for wing in (*NOT_DEPLOYED, *STORIES)):
            yield file


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(path.match(pattern) for pattern in IGNORED):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


@contextmanager
def _locked(project: Project, platform: Platform) -> Iterator[None]:
    """One build of a platform at a time; the lock goes when its process does."""
    folder = project.root / "build"
    folder.mkdir(exist_ok=True)
    with (folder / f".{platform}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    """An empty folder on the target's file system, gone afterwards unless renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        draft = Path(folder) / target.name
        draft.mkdir()
        yield draft


def main(arguments: Sequence[str]) -> None:
    """Fetch and package for the platforms named, or for all."""
    unknown = [argument for argument in arguments if argument not in PLATFORMS]
    if unknown:
        message = f"Unknown platform {unknown[0]!r}: choose from {', '.join(PLATFORMS)}."
        raise SystemExit(message)
    try:
        for platform in PLATFORMS:
            if not arguments or platform in arguments:
                fetch(platform)
                package(platform)
    except PackagingError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
