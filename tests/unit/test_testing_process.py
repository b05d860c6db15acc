"""The process of a function in a lab: it dies as on Lambda, and lives in the lab's time."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import EndlessRun, Lab, LabFactory, ProcessKilled, UnusedFault
from dynamodb_streams_cdc.testing.simulation.process import current
from tests.unit.labs import DAY, REPORTING, deliver, fail, given_up, items, keys, succeed

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]


class Rows:
    """A port: what was called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def lock(self) -> None:
        self.calls.append("lock")

    def write(self, what: object = "write") -> None:
        self.calls.append(str(what))

    def unlock(self) -> None:
        self.calls.append("unlock")


# From a crash on nothing takes effect


def test_a_crash_ends_finally_blocks_too(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        port.lock()
        try:
            port.write()
        finally:
            port.unlock()

    lab.crash_before("write")
    deliver(lab, "1")
    assert rows.calls == ["lock"]
    assert isinstance(lab.deliveries[0].error, ProcessKilled)
    assert len(lab.dead_letters) == 1


@pytest.mark.parametrize(
    "kind", [BaseException, ProcessKilled], ids=["BaseException", "ProcessKilled"]
)
def test_a_crash_that_is_caught_ends_everything_all_the_same(
    stream_lab: LabFactory, kind: type[BaseException]
) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0, **REPORTING), Rows()
    port = lab.faulty(rows)
    went_on: list[str] = []

    @lab.function
    def handler(event: Any, context: Any) -> Any:
        for what in ("first", "second", "third"):
            try:
                port.write(what)
            except kind:
                went_on.append(what)
        try:
            lab.put({"id": "2"})
        except kind:
            went_on.append("put")
        try:
            time.sleep(1)
        except kind:
            went_on.append("sleep")
        return {"batchItemFailures": []}

    lab.crash_after("write")
    deliver(lab, "1")
    assert rows.calls == ["first"]
    assert went_on == ["first", "second", "third", "put", "sleep"]
    assert lab.delivered == [["INSERT 1"]]
    assert isinstance(lab.deliveries[0].error, ProcessKilled)
    assert given_up(lab) == [["INSERT 1"]]


def test_an_error_after_a_crash_is_not_what_the_mapping_sees(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    port = lab.faulty(Rows())

    @lab.function
    def handler(event: Any, context: Any) -> None:
        try:
            port.write()
        except BaseException:
            message = "translated"
            raise ValueError(message) from None

    lab.crash_before()
    deliver(lab, "1")
    assert isinstance(lab.deliveries[0].error, ProcessKilled)


def test_a_crash_closes_the_connections_of_the_process(
    stream_lab: LabFactory, tmp_path: Path
) -> None:
    lab, path = stream_lab(), tmp_path / "copies"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE copies (id TEXT)")

    @lab.function
    def handler(event: Any, context: Any) -> None:
        with contextlib.closing(lab.faulty(sqlite3.connect(path, timeout=0.01))) as connection:
            connection.execute("INSERT INTO copies VALUES ('1')")
            connection.commit()

    lab.crash_before("commit")
    deliver(lab, "1")
    assert [type(delivery.error) for delivery in lab.deliveries] == [ProcessKilled, type(None)]


@pytest.mark.parametrize("crash", [Lab.crash_before, Lab.crash_after])
def test_the_threads_of_a_function_that_crashed_stop(
    stream_lab: LabFactory, crash: Callable[[Lab], None]
) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        with ThreadPoolExecutor(10) as pool:
            for future in [pool.submit(port.write, number) for number in range(60)]:
                try:
                    future.result()
                except BaseException:
                    continue

    crash(lab)
    deliver(lab, "1")
    assert len(rows.calls) == (1 if crash is Lab.crash_after else 0)
    assert isinstance(lab.deliveries[0].error, ProcessKilled)


def test_a_crash_in_a_thread_of_its_own_ends_the_function(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> str:
        thread = threading.Thread(target=port.lock)
        thread.start()
        thread.join()
        return "all is well"

    lab.crash_after("lock")
    deliver(lab, "1")
    assert isinstance(lab.deliveries[0].error, ProcessKilled)


def test_threads_that_outlive_a_crash_have_no_effect_later(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Rows()
    port, go_on = lab.faulty(rows), threading.Event()
    threads: list[threading.Thread] = []

    def late() -> None:
        go_on.wait(10)
        port.write("from the dead")

    @lab.function
    def handler(event: Any, context: Any) -> None:
        if keys(event) == ["1"]:
            threads.append(threading.Thread(target=late))
            threads[0].start()
        port.write(keys(event))

    lab.crash_before("write")
    deliver(lab, "1")
    go_on.set()
    threads[0].join()
    deliver(lab, "2")
    assert rows.calls == ["['2']"]


def test_a_pool_that_a_module_keeps_serves_the_next_invocation(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(), Rows()
    port = lab.faulty(rows)
    with ThreadPoolExecutor(1) as pool:
        lab.function(lambda event, context: pool.submit(port.write, keys(event)).result())
        lab.crash_before("write")
        deliver(lab, "1")
        pool.submit(port.write, "by the test").result()
    assert rows.calls == ["['1']", "by the test"]
    assert len(lab.deliveries) == 2


def test_calls_of_a_pool_overlap(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=5.0, MaximumRetryAttempts=0)
    port = lab.faulty(Rows())
    left: list[int] = []

    @lab.function
    def handler(event: Any, context: Any) -> None:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(port.write, range(20)))
        left.append(context.get_remaining_time_in_millis())
        thread = threading.Thread(target=port.write)
        thread.start()
        left.append(context.get_remaining_time_in_millis())
        thread.join()
        left.append(context.get_remaining_time_in_millis())

    lab.slow_sink(seconds=60, per_call=1)
    deliver(lab, "1")
    assert left == [3000, 3000, 2000]
    assert lab.clock.now() - lab.deliveries[0].at >= 3
    assert lab.dead_letters == []


# The end of a process by itself


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: sys.exit(), "Runtime exited without providing a reason"),
        (lambda: sys.exit(0), "Runtime exited without providing a reason"),
        (lambda: sys.exit(3), "Runtime exited with error: exit status 3"),
        (lambda: sys.exit("text"), "Runtime exited with error: exit status 1"),
        (lambda: exit(1), "Runtime exited with error: exit status 1"),
        (lambda: os._exit(137), "Runtime exited with error: exit status 137"),
        (lambda: os.abort(), "Runtime exited with error: signal: aborted"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "with error: signal: killed"),
        (lambda: asyncio.run(cancelled()), "exit status 1 .CancelledError"),
    ],
)
def test_a_function_that_exits_has_failed(
    stream_lab: LabFactory, end: Callable[[], object], reason: str
) -> None:
    lab = stream_lab(lambda event, context: end(), MaximumRetryAttempts=1)
    deliver(lab, "1")
    assert [delivery.attempt for delivery in lab.deliveries] == [1, 2]
    for delivery in lab.deliveries:
        with pytest.raises(ProcessKilled, match=f"^Runtime.ExitError: .*{reason}"):
            raise delivery.error or AssertionError
    [dead_letter] = lab.dead_letters
    assert dead_letter.document["responseContext"]["functionError"] == "Unhandled"


async def cancelled() -> None:
    raise asyncio.CancelledError


def test_from_an_exit_on_nothing_takes_effect(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        try:
            os._exit(1)
        finally:
            port.unlock()

    deliver(lab, "1")
    lab.deliver_again(lab.deliveries[0])
    assert rows.calls == []
    assert len(lab.dead_letters) == 1


def test_what_a_test_raises_on_purpose_leaves_the_run(stream_lab: LabFactory) -> None:
    lab = stream_lab(lambda event, context: pytest.fail("seen by the test"))
    lab.put({"id": "1"})
    with pytest.raises(pytest.fail.Exception, match="seen by the test"):
        lab.run()


# Death by memory: a record that kills the process


class DyingOfThree:
    """A function that item 3 kills, as the kernel does when memory runs out."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, event: Any, context: Any) -> None:
        if "3" in keys(event):
            os.kill(os.getpid(), signal.SIGKILL)
        self.done.extend(key for key in keys(event) if key not in self.done)


def test_unlimited_retries_block_later_records_until_their_age(stream_lab: LabFactory) -> None:
    handler = DyingOfThree()
    lab = stream_lab(
        handler,
        BatchSize=5,
        BisectBatchOnFunctionError=True,
        MaximumRecordAgeInSeconds=20 * 3600,
    )
    lab.put(*items(5))
    lab.wait(10 * 3600)
    deliver(lab, "6")
    assert handler.done == ["1", "2", "6"]
    lost_together = [change for changes in given_up(lab) for change in changes]
    assert lost_together == ["INSERT 3", "INSERT 4", "INSERT 5"]
    assert lab.lost == []


def test_lanes_next_to_a_killer_go_on(stream_lab: LabFactory) -> None:
    handler = DyingOfThree()
    lab = stream_lab(
        handler, BatchSize=1, ParallelizationFactor=4, MaximumRecordAgeInSeconds=20 * 3600
    )
    lab.put(*items(20))
    lab.wait(60)
    held = {str(number) for number in range(1, 21)} - set(handler.done)
    assert "3" in held
    assert len(held) < 12
    lab.run()
    assert {dead_letter.condition for dead_letter in lab.dead_letters} == {"RecordAgeExceeded"}


# Time


def test_time_in_a_function_is_the_labs(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=60.0)
    told: list[float] = []

    @lab.function
    def handler(event: Any, context: Any) -> None:
        began = (time.time(), time.monotonic(), time.perf_counter(), lab.clock.now())
        time.sleep(7)
        ended = (time.time(), time.monotonic(), time.perf_counter(), lab.clock.now())
        told.extend(round(after - before, 6) for before, after in zip(began, ended, strict=True))
        told.append(time.time_ns() / 1e9 - lab.clock.now())
        told.append(context.get_remaining_time_in_millis())

    lab.put({"id": "1"})
    before = time.monotonic()
    lab.run()
    assert told == [7, 7, 7, 7, pytest.approx(0, abs=1e-3), 53_000]
    assert time.monotonic() >= before
    assert time.sleep.__module__ != "dynamodb_streams_cdc.testing.simulation.process"


def test_a_function_that_sleeps_into_its_timeout_is_ended_there(stream_lab: LabFactory) -> None:
    lab, rows = stream_lab(timeout=1.0, MaximumRetryAttempts=1), Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        try:
            time.sleep(3600)
        finally:
            port.unlock()

    deliver(lab, "1")
    assert [str(delivery.error) for delivery in lab.deliveries] == ["at its timeout"] * 2
    assert lab.deliveries[1].at - lab.deliveries[0].at < 2
    assert rows.calls == []
    assert len(lab.dead_letters) == 1


def test_an_endless_loop_that_sleeps_comes_to_its_timeout(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30.0, MaximumRetryAttempts=0)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        while True:
            time.sleep(1)

    deliver(lab, "1")
    assert isinstance(lab.deliveries[0].error, ProcessKilled)


@pytest.mark.parametrize(
    "passes",
    [
        lambda lab, context: context.get_remaining_time_in_millis() < 500,
        lambda lab, context: time.monotonic() > lab.clock.now() + 10,
        lambda lab, context: lab.clock.now() == 0,
    ],
)
def test_a_busy_wait_ends_at_its_timeout(
    stream_lab: LabFactory, passes: Callable[[Lab, Any], bool]
) -> None:
    lab = stream_lab(timeout=3.0, MaximumRetryAttempts=0)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        while not passes(lab, context):
            pass

    lab.put({"id": "1"})
    lab.run()
    assert [str(each.error) for each in lab.deliveries] == ["at its timeout"]
    assert "00:00:03.000  function     failed, ProcessKilled" in str(lab.timeline)


def test_others_go_on_while_a_function_sleeps(stream_lab: LabFactory) -> None:
    lab = stream_lab(ParallelizationFactor=4, BatchSize=1)
    order: list[str] = []

    @lab.function
    def handler(event: Any, context: Any) -> None:
        order.append(f"begins {keys(event)[0]}")
        time.sleep(5)
        order.append(f"ends {keys(event)[0]}")
        assert current() is not None

    lab.put(*({"id": str(number)} for number in range(6)))
    lab.run()
    assert order[:2] == ["begins 0", "begins 1"] or order[1].startswith("begins")
    assert len(order) == 12
    assert current() is None


def test_an_invocation_takes_no_time_of_another(stream_lab: LabFactory) -> None:
    left = {}
    lab = stream_lab(timeout=3.0, partitions=8, BatchSize=1)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        [name] = keys(event)
        for seconds in (2.5,) if name == "slow" else (1, 1):
            time.sleep(seconds)
        left[name] = context.get_remaining_time_in_millis()

    lab.put({"id": "quick"}, {"id": "slow"})
    lab.run()
    assert [delivery.error for delivery in lab.deliveries] == [None, None]
    assert left == {"slow": 500, "quick": 1000}


def test_asyncio_sleeps_in_lab_time_and_waits_in_real_time(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=60.0)
    took: list[float] = []

    async def work() -> str:
        await asyncio.sleep(9)
        return await asyncio.wait_for(asyncio.to_thread(lambda: "done"), timeout=30)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        began = lab.clock.now()
        assert asyncio.run(work()) == "done"
        took.append(lab.clock.now() - began)

    deliver(lab, "1")
    assert took == [9]


def test_the_tasks_of_an_event_loop_wait_side_by_side(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=60.0)
    took: list[float] = []

    async def work() -> None:
        waits = [asyncio.sleep(30), *(asyncio.to_thread(time.sleep, 30) for _ in range(3))]
        await asyncio.gather(*waits)
        took.append(lab.clock.now())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(1000), timeout=5)
        took.append(lab.clock.now())

    lab.function(lambda event, context: asyncio.run(work()))
    began = lab.clock.now()
    deliver(lab, "1")
    assert [moment - began for moment in took] == [30, 35]


def in_a_thread() -> None:
    thread = threading.Thread(target=lambda: time.sleep(3600))
    thread.start()
    thread.join()


def in_a_pool() -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 3600)


@pytest.mark.parametrize("wait", [in_a_thread, in_a_pool, lambda: asyncio.run(asyncio.sleep(3600))])
def test_the_next_attempt_comes_after_the_timeout(
    stream_lab: LabFactory, wait: Callable[[], None]
) -> None:
    lab = stream_lab(timeout=10.0, MaximumRetryAttempts=1)
    lab.function(lambda event, context: wait())
    deliver(lab, "1")
    first, second = lab.deliveries
    assert repr(first.error) == "ProcessKilled('at its timeout')"
    assert 10 < second.at - first.at < 12


def test_waits_for_threads_have_the_machines_time(stream_lab: LabFactory) -> None:
    lab, stopped = stream_lab(), threading.Event()

    @lab.function
    def handler(event: Any, context: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(stopped.wait, 10)
            with pytest.raises(TimeoutError):
                list(as_completed([future], timeout=0.01))
            stopped.set()

    deliver(lab, "1")
    assert lab.deliveries[0].error is None


def test_a_function_may_have_the_machines_time(stream_lab: LabFactory) -> None:
    lab = stream_lab(virtual_time=False)
    told: list[float] = []
    lab.function(lambda event, context: told.append(time.time()))
    lab.put({"id": "1"})
    before = time.time()
    lab.run()
    assert told[0] >= before
    assert told[0] != lab.clock.now()


def test_a_function_may_not_let_the_lab_wait(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    lab.function(lambda event, context: lab.wait(1))
    deliver(lab, "1")
    assert "lab.clock.sleep" in str(lab.deliveries[0].error)


# Every run ends


def test_a_window_function_without_a_response_is_explained(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed, TumblingWindowInSeconds=60)
    lab.put({"id": "1"})
    with pytest.raises(EndlessRun, match=r"after 48 hours") as failure:
        lab.run()
    assert "it returned None" in str(failure.value)


def test_a_final_invocation_that_fails_suspends_the_shard(stream_lab: LabFactory) -> None:
    def handler(event: Any, context: Any) -> Any:
        return None if event["isFinalInvokeForWindow"] else {"state": {}}

    lab = stream_lab(handler, TumblingWindowInSeconds=60)
    lab.put({"id": "1"})
    with pytest.raises(EndlessRun, match=r"window fails, .*the shard is suspended until it succ"):
        lab.run()


def test_a_function_that_feeds_itself_ends_with_a_sentence(stream_lab: LabFactory) -> None:
    """As one does that writes to the table that it follows."""
    lab = stream_lab(BatchSize=1)
    numbers = iter(range(10**9))
    lab.function(lambda event, context: lab.put({"id": f"next {next(numbers)}"}))
    lab.put({"id": "first"})
    with pytest.raises(EndlessRun, match=r"after 0\.1 hours"):
        lab.run(hours=0.1)
    lines = str(lab.timeline).splitlines()
    assert len(lines) == 251
    assert re.search(r"\.\.\. and 4,\d\d\d more lines, then", lines[200])
    assert str(lab.timeline.entries[-1]) == lines[-1]


# What is told


def test_what_the_stream_forgets_is_told_once_at_the_end(stream_lab: LabFactory) -> None:
    lab = stream_lab(fail)
    began = lab.clock.now()
    deliver(lab, "1")
    assert DAY - 60 <= lab.deliveries[-1].at - began <= DAY
    assert lab.dead_letters == []
    assert lab.lost == ["INSERT 1"]
    lines = str(lab.timeline).splitlines()
    assert "lost, the stream forgot them after a day: INSERT 1" in lines[-1]
    assert str(lab.timeline).count("lost") == 1
    assert len(lines) < 20
    assert "more attempts that went alike, then" in str(lab.timeline)
    assert len(lab.timeline.entries) > 2_000


def test_what_a_disabled_mapping_never_read_is_lost(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    lab.disable()
    lab.put({"id": "1"}, {"id": "2"})
    lab.wait(25 * 3600)
    lab.put({"id": "3"})
    lab.enable()
    lab.run()
    assert lab.delivered == [["INSERT 3"]]
    assert lab.lost == ["INSERT 1", "INSERT 2"]


def test_an_unreported_record_is_lost(stream_lab: LabFactory) -> None:
    lab = stream_lab(fail, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {}})
    deliver(lab, "1")
    assert lab.dead_letters == []
    assert lab.lost == ["INSERT 1"]
    assert lab.metrics["DroppedEventCount"] == 1
    assert "there is no destination to report it to: INSERT 1" in str(lab.timeline)
    broken = stream_lab(fail, MaximumRetryAttempts=0)
    broken.destination_works = False
    broken.put({"id": "1"})
    broken.run()
    assert broken.destination_works is False
    assert broken.dead_letters == []
    assert broken.lost == ["INSERT 1"]
    assert broken.metrics["DestinationDeliveryFailures"] == 1


def test_a_timeline_shows_argument_names_and_results(stream_lab: LabFactory) -> None:
    class Table:
        def update_item(self, **options: Any) -> None:
            pass

    lab = stream_lab(**REPORTING)
    table = lab.faulty(Table())

    @lab.function
    def handler(event: Any, context: Any) -> Any:
        table.update_item(Key={"id": "1"}, UpdateExpression="ADD n :one")
        return {"batchItemFailures": []}

    deliver(lab, "1")
    lab.deliver_again(lab.deliveries[0])
    told = str(lab.timeline)
    assert "update_item(Key={id: 1}, UpdateExpression=ADD n :one)" in told
    assert "answered: success, returned {batchItemFailures: []}" in told
    assert "answered, which counts no longer: {batchItemFailures: []}" in told


def test_a_timeline_says_how_an_old_batch_failed(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    deliver(lab, "1")
    lab.function(lambda event, context: sys.exit(1))
    lab.deliver_again(lab.deliveries[0])
    assert "ExitError" in str(lab.timeline)
    assert "not retried" in str(lab.timeline)


def test_an_unused_fault_names_the_calls_that_were_made(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    port = lab.faulty(Rows())
    lab.function(lambda event, context: port.lock())
    lab.crash_before("write")
    lab.put({"id": "1"})
    with pytest.raises(UnusedFault, match="there were lock"):
        lab.run()


# The context


def test_an_answer_can_be_lost_of_a_call_that_succeeds(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    lab.function(lab.faulty(fail))
    lab.lose_answer()
    lab.put({"id": "1"})
    with pytest.raises(UnusedFault, match="a lost answer in one that succeeds; there were fail"):
        lab.run()


def test_the_context_has_all_that_lambdas_has(stream_lab: LabFactory) -> None:
    seen: list[Any] = []
    arn = "arn:aws:lambda:us-east-1:000000000000:function:orders:live"
    lab = stream_lab(lambda event, context: seen.append(context), FunctionArn=arn)
    deliver(lab, "1")
    [context] = seen
    assert context.function_name == "orders"
    assert context.function_version == "live"
    assert context.invoked_function_arn == arn
    assert context.memory_limit_in_mb == "128"
    assert context.log_group_name == "/aws/lambda/orders"
    assert context.log_stream_name.startswith("2024/05/01/[live]")
    assert context.client_context is None
    assert context.identity.cognito_identity_id is None
    assert context.tenant_id is None
    assert len(context.aws_request_id) == 36


def test_the_logger_of_powertools_takes_the_context(
    stream_lab: LabFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    logging = pytest.importorskip("aws_lambda_powertools.logging")
    logger = logging.Logger(service="orders")

    @logger.inject_lambda_context  # type: ignore[untyped-decorator]
    def handler(event: Any, context: Any) -> None:
        logger.info("seen")

    lab = stream_lab(handler)
    deliver(lab, "1")
    assert lab.deliveries[0].error is None
    assert '"function_name":"lab"' in capsys.readouterr().out
