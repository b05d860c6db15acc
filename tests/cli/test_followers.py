"""A backfill rests while the sinks that follow the change log are behind it."""

from typing import Any, NamedTuple

import pytest

from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.operations.followers import Followers
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.status import StatusReader
from dynamodb_streams_cdc.testing.simulation import VirtualClock
from tests.cli.conftest import Cloud, nothing, refuse
from tests.cli.test_on_aws import table  # noqa: F401 - a fixture
from tests.cli.test_status import measure

HERE = "search is 7 minutes behind the change log: resting until it is less than 60 seconds behind."


@pytest.fixture
def behind(cloud: Cloud) -> Cloud:
    """Search reads the change log, and what is seven minutes old."""
    [search] = [each for each in cloud.manifest["processors"] if each["name"] == "search"]
    search["feed"] = "change-log"
    measure(cloud, "search", "IteratorAge", (2, 420_000))
    return cloud


def slept(monkeypatch: pytest.MonkeyPatch, then: Any) -> list[float]:
    """Do something instead of each sleep; return how long they were."""
    found = list[float]()

    def sleep(clock: SystemClock, seconds: float) -> None:
        found.append(seconds)
        then()

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    return found


def stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [(), ("--on", "aws")])
def test_a_backfill_of_the_log_rests(
    behind: Cloud, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind.pipeline.write(1, "placed")
    slept(monkeypatch, stop)
    done = behind.run("backfill", "--yes", *words)
    assert done.exit_code == 130, done.output
    assert HERE in done.stderr
    assert not {"Invoke", "StartExecution"} & {*behind.calls}


def test_a_backfill_of_the_follower_itself_does_not_rest(
    behind: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept(monkeypatch, stop)
    assert behind.run("backfill", "--yes", "--processor", "search").exit_code == 0


def test_an_execution_is_stopped_when_a_follower_falls_behind(
    behind: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind.execution = {"status": "RUNNING"}
    monkeypatch.setattr(Followers, "are_behind", lambda self: "StartExecution" in behind.calls)
    slept(monkeypatch, stop)
    assert behind.run("backfill", "--yes", "--on", "aws").exit_code == 130
    assert behind.calls.count("StopExecution") == 1


class Watched(NamedTuple):
    followers: Followers
    clock: VirtualClock
    said: list[str]

    def are_behind(self, later: float = 0.0) -> bool:
        """Look again after some seconds."""
        self.clock.sleep(later)
        return self.followers.are_behind()


@pytest.fixture
def search(behind: Cloud) -> Watched:
    clock, said = VirtualClock(), list[str]()
    clock.sleep(SystemClock().now() - clock.now())
    status = StatusReader(Deployment.find("sandbox", None, None), clock)
    return Watched(Followers(status, ["search"], said.append, clock), clock, said)


def test_it_goes_on_when_the_followers_have_caught_up(behind: Cloud, search: Watched) -> None:
    assert search.are_behind()
    measure(behind, "search", "IteratorAge", (1, 120_000))
    assert search.are_behind(), "until a minute has passed, CloudWatch is not asked again"
    assert search.are_behind(61), "it rests until it is nearly up to date"
    measure(behind, "search", "IteratorAge", (0, 30_000))
    assert not search.are_behind(61)
    assert search.said == [HERE, "search has caught up with the change log: going on."]


def test_a_follower_that_reads_no_more_has_caught_up(search: Watched) -> None:
    """The last entry that it read was old, and no change has come since."""
    assert search.are_behind()
    assert search.are_behind(400)
    assert not search.are_behind(100)


def test_an_age_that_is_unknown_changes_nothing(behind: Cloud, search: Watched) -> None:
    behind.fails = refuse("GetMetricData")
    assert not search.are_behind()
    assert not search.are_behind(61)
    behind.fails = nothing
    assert search.are_behind(61)
    behind.fails = refuse("GetMetricData")
    assert search.are_behind(61)
    [unknown, resting] = search.said
    assert unknown.startswith("How far search is behind the change log is unknown: These cred")
    assert resting.startswith("search is 7 minutes behind")
