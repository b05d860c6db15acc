"""Dead letters, delivered again once what was wrong is mended."""

import json

from dynamodb_streams_cdc.esm import Result, classify
from dynamodb_streams_cdc.simulation.delivery import DeadLetter
from dynamodb_streams_cdc.simulation.poller import Poller
from dynamodb_streams_cdc.simulation.ports import Killed


def redrive(poller: Poller, letter: DeadLetter) -> None:
    """Invoke the function with a letter's records; one that fails stays a letter, the rest go on.

    A response that names no record leaves the whole letter where it is.
    """
    records = json.loads(letter.document["payload"])["Records"]
    while records:
        poller.note(f"a letter of {len(records)} records is redriven")
        try:
            answer = poller.run({"Records": records})
        except (Exception, Killed) as error:
            poller.note(f"failed, {error!r}: it stays a letter")
            return
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        verdict = classify(answer, numbers, report_batch_item_failures=True)
        if verdict.result is not Result.PARTIAL:
            poller.note(f"answered: {verdict.result}")
            return
        poller.note("a record failed again: it stays a letter")
        records = records[verdict.first_failed + 1 :]
