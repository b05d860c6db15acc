"""What all tests share."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest

from tests.schedules import SCHEDULES

# `make test SCHEDULES=all` would hand its variables on to each make that a test runs.
for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"):
    os.environ.pop(name, None)

# Contracts are not test modules: have their assertions explained all the same.
pytest.register_assert_rewrite("tests.contracts")

# A run that was started in the background ignores SIGINT, and so would every process that it
# starts: tests that press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

SLOWEST_FIRST = ("tests/unit/simulation/", "tests/infrastructure/", "tests/cli/", "tests/tools/")


def pytest_configure() -> None:
    """Refuse a misspelt SCHEDULES before any test runs."""
    if SCHEDULES not in ("", "all"):
        message = f"SCHEDULES={SCHEDULES}: write all, or leave it out"
        raise pytest.UsageError(message)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow folders first: no worker is left alone with one in the end."""

    def rank(item: pytest.Item) -> int:
        found = (n for n, folder in enumerate(SLOWEST_FIRST) if item.nodeid.startswith(folder))
        return next(found, len(SLOWEST_FIRST))

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Any:
    """Let one worker run all tests of the stacks: it starts one CDK and shares its templates."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = group_of
    return scheduler


def group_of(nodeid: str) -> str:
    """Return the file of a test, or the folder of those that synthesise stacks."""
    file = nodeid.split("::", 1)[0]
    folder, _, name = file.rpartition("/")
    if folder.startswith("tests/infrastructure") and "packag" not in name and "runtime" not in name:
        return "tests/infrastructure"
    return "tests/infrastructure" if name.startswith(("test_account", "test_costs")) else file


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many schedules were run, and states gone through: on a laptop it is a part."""
    run = {"schedules": 0, "states": 0}
    for report in (each for found in terminalreporter.stats.values() for each in found):
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for name, value in report.user_properties:
                if name in run and isinstance(value, int):
                    run[name] += value
    if run["schedules"]:
        rest = "" if SCHEDULES else ", a fiftieth of those in CI: SCHEDULES=all runs the rest"
        terminalreporter.write_line(f"Schedules of the simulation: {run['schedules']:,}{rest}")
    if run["states"]:
        terminalreporter.write_line(f"States of all interleavings: {run['states']:,}")


@pytest.fixture(scope="session")
def models() -> Iterator[None]:
    """Let all sessions share the models of the services: reading them takes longer than a test.

    So do the methods of their clients. Moto would also register thousands of addresses, for
    programs that reach AWS by requests.
    """
    from botocore.client import ClientCreator
    from botocore.loaders import create_loader

    loader = create_loader()
    make_methods = ClientCreator._create_methods  # type: ignore[attr-defined]
    methods: dict[str, dict[str, Any]] = {}

    def shared(creator: Any, service_model: Any) -> dict[str, Any]:
        name = service_model.service_name
        if name not in methods:
            methods[name] = make_methods(creator, service_model)
        return dict(methods[name])

    with (
        patch("botocore.session.create_loader", lambda search_path_string=None: loader),
        patch.object(ClientCreator, "_create_methods", shared),
        patch("moto.core.models.RESPONSES_METHODS", []),
    ):
        yield


@pytest.fixture(scope="session")
def session_of(models: None) -> Callable[..., Any]:
    """Makes one session for the same arguments and environment, and one client for both.

    Commands make both again in each process; most of these tests are one command, or several.
    """
    import boto3

    made: dict[object, Any] = {}

    def once(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        config = vars(options["config"]) if options.get("config") else None
        variables = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
        given = sorted((options | {"config": config}).items())
        which = repr((id(getattr(make, "__self__", make)), arguments, given, variables))
        if which not in made:
            made[which] = make(*arguments, **options)
        return made[which]

    def session(**options: Any) -> Any:
        found: Any = boto3.session.Session(**options)
        found.client = partial(once, found.client)
        return found

    return partial(once, session)


@pytest.fixture
def sessions(session_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a test runs share sessions and clients with other tests."""
    monkeypatch.setattr("boto3.Session", session_of)


@pytest.fixture(autouse=True)
def jobs_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the jobs of a test away from a person's, and in memory: on a disk each waits for it."""
    with TemporaryDirectory(prefix="cdc-jobs-", dir=MEMORY) as folder:
        monkeypatch.setenv("CDC_JOBS", folder)
        yield Path(folder)


@pytest.fixture(autouse=True)
def logging_comes_back() -> Iterator[None]:
    """Undo `logging.disable`, which commands call that tests call: it is the whole process's."""
    yield
    logging.disable(logging.NOTSET)
