"""What a mapping counts."""

from dynamodb_streams_cdc.esm import Policies
from tests.unit.esm.driver import (
    DEAD_LETTERS,
    START,
    Throttled,
    description,
    drive,
    failing,
    filtered_by,
    ignore,
    in_turn,
    raising,
    record,
    records,
    report,
    reporting,
)


def test_rule_58_every_record_is_counted_where_it_went() -> None:
    source = [record(n, name="MODIFY" if n > 3 else "INSERT") for n in range(1, 6)]
    settings = reporting(
        MaximumRetryAttempts=1, **filtered_by('{"eventName": ["INSERT"]}'), **DEAD_LETTERS
    )
    run = drive(settings, failing(2), source, now=START + 5)

    assert run.engine.metrics.as_dict() == {
        "PolledEventCount": 5,
        "FilteredOutEventCount": 2,
        "InvokedEventCount": 3 + 2 + 2,
        "FailedInvokeEventCount": 3 + 2 + 2,
        "DroppedEventCount": 0,
        "OnFailureDestinationDeliveredEventCount": 2,
        "DestinationDeliveryFailures": 0,
        "IteratorAge": 5250.0,
    }


def test_rule_58_without_a_destination_records_are_dropped() -> None:
    run = drive(description(MaximumRetryAttempts=1), raising(), records(3))

    metrics = run.engine.metrics
    assert (metrics.dropped, metrics.invoked, metrics.on_failure_delivered) == (3, 6, 0)


def test_rule_58_dropped_excludes_what_reached_a_destination() -> None:
    run = drive(description(MaximumRetryAttempts=0, **DEAD_LETTERS), raising(), records(3))

    assert run.engine.metrics.dropped == 0
    assert run.engine.metrics.on_failure_delivered == 3


def test_rule_58_a_throttled_invocation_counts_as_failed() -> None:
    handler = in_turn(Throttled, None)
    run = drive(description(), handler, records(2))

    assert (run.engine.metrics.invoked, run.engine.metrics.failed_invoke) == (4, 2)


def test_rule_58_an_ignored_report_counts_as_failed() -> None:
    policies = Policies(unknown_identifier="ignore")
    run = drive(reporting(), lambda event: report(7), records(2), policies=policies, seconds=0)

    assert run.batches == [[1, 2]]
    assert run.engine.metrics.failed_invoke == 2


def test_rule_58_iterator_age_is_of_the_last_record_sent() -> None:
    source = [record(1, time=START - 90), record(2, time=START - 30)]

    assert drive(description(), ignore, source).engine.metrics.iterator_age == 30_000
    nothing = drive(description(), ignore, []).engine.metrics
    assert (nothing.iterator_age, nothing.polled) == (None, 0)
