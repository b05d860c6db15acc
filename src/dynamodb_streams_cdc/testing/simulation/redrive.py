"""Dead letters, delivered again once what was wrong is mended."""

import json
from collections.abc import Sequence
from typing import Any

from dynamodb_streams_cdc.esm import Result, classify
from dynamodb_streams_cdc.testing.simulation.delivery import DiscardedBatch, Record
from dynamodb_streams_cdc.testing.simulation.events import Failed, Remark, listed
from dynamodb_streams_cdc.testing.simulation.poller import Poller
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled


def redrive(poller: Poller, dead_letter: DiscardedBatch) -> None:
    """Invoke the function with a dead letter's records; those that fail again stay dead letters.

    Records that fail together are tried one by one: none has to wait for another to be mended.
    """
    _redrive(poller, json.loads(dead_letter.document["payload"])["Records"])


def _redrive(poller: Poller, records: Sequence[Record]) -> None:
    poller.note(Remark(f"a dead letter is redriven: {listed(records)}"))
    done = _done(poller, records)
    if done == len(records):
        return
    if done == 0 and len(records) > 1:
        for record in records:
            _redrive(poller, [record])
        return
    poller.note(Remark(f"still a dead letter: {listed(records[done : done + 1])}"))
    if rest := records[done + 1 :]:
        _redrive(poller, rest)


def _done(poller: Poller, records: Sequence[Record]) -> int:
    """Return how many of the records the function has done, from the first on."""
    try:
        answer: Any = poller.run({"Records": records})
    except (Exception, ProcessKilled) as error:
        poller.note(Failed(error))
        return 0
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    verdict = classify(answer, numbers, report_batch_item_failures=True)
    return len(records) if verdict.result is Result.SUCCESS else verdict.first_failed
