"""Names that the library, the functions and the stacks must agree on; standard library only.

The names of environment variables are not here: they are the fields of the settings in `lambdas`,
in upper case, and tests/infrastructure/test_contract.py compares them with the templates.
"""

from enum import StrEnum

# Prefixes of keys in the two dead-letter buckets.
DEAD_LETTERS = "dead-letters/"
"""Dead letters of a processor: `dead-letters/<processor>/`, in the dead-letter bucket."""
ARCHIVE = "archive/"
"""Dead letters that were redriven, under their old key, in the dead-letter bucket."""
GIVEN_UP_BY_LAMBDA = "aws/lambda/"
"""Batches that Lambda gave up: `aws/lambda/<mapping UUID>/`, in the on-failure bucket
(https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html)."""

RUNS = "runs/"
"""Parts of a walk under Step Functions and the answers to them, in the bucket of the maintenance:
`runs/<execution>/<number of the part>/<step>.json`."""

MANIFEST = "Manifest"
"""Output of the pipeline's stack with its manifest; see `operations.manifest`."""
MANIFEST_SCHEMA = 1

# Prefixes of keys in the idempotency table.
LEDGER = "ledger/"
"""Ledger rows of the aggregation: `ledger/<item>`."""
ATTEMPT = "attempt/"
"""Attempts at a record that may kill its function: `attempt/<processor>/<sequence number>`."""
ONCE = "once/"
"""Markers of `idempotency.Once`: `once/<effect>/<item>/<version>`."""
NOTES = "notes/operations"
"""Key of the item with the notes of operators; see `control.notes`."""
GENERATIONS = "generations/sums"
"""Key of the item that says which generations of sums there are; see `sinks.generations`."""
FORGETTING = "forgetting/"
"""Erasures that are not complete: `forgetting/<item>`; see `control.erasure`."""
ERASED = "erased/"
"""Receipts of erasures, which name no item: `erased/<receipt>`."""

# Attributes of the tables.
IDEMPOTENCY_KEY = "id"
EXPIRES_AT = "expires_at"
WRITTEN_AT = "written_at"
AGGREGATES_KEYS = ("aggregate", "shard")
CHANGE_LOG_KEYS = ("item", "version")

CANARY = "cdc-canary"
"""The canary's key, text or bytes, and the attribute that holds when it was written."""

ERASURE = "erasure"
"""Name of the function that erases; no processor has it."""

RETIRED = "retired"
"""Processor under which dead letters are counted whose mapping or processor is gone."""

FUNCTION_SECONDS = 60
"""Timeout of the functions, in seconds."""

MAINTENANCE_SECONDS = 900
"""Timeout of the maintenance function, in seconds: the most that Lambda gives
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

METRICS_NAMESPACE = "DynamoDbStreamsCdc"


class Metric(StrEnum):
    """The metrics that the functions publish, in `METRICS_NAMESPACE`."""

    RECEIVED = "Received"
    APPLIED = "Applied"
    STALE = "Stale"
    SKIPPED = "Skipped"
    UNKNOWN = "UnknownItems"
    VERSION_ORDER_VIOLATIONS = "VersionOrderViolations"
    DEAD_LETTERED = "DeadLettered"
    REPORTED = "Reported"
    REPAIRED = "Repaired"
    CANARIES = "Canaries"
    BREAKER_OPEN = "BreakerOpen"
    ACCESS_DENIED = "AccessDenied"
    DEAD_LETTERS_WAITING = "DeadLettersWaiting"
    DIFFERENCES = "Differences"


class LogEvent(StrEnum):
    """The field `event` of the library's log lines, which saved queries filter on.

    The other fields of each line:

        dead_letter              dead_letter (end of its key), reason, item
        batch_reported           reported, received, sequence_number, item, error (its type)
        version_order_violation  item, version
        breaker_open             reason, failing, items
        source_at_fault          received, field (of a malformed one)
        access_denied            error
        attempt_not_counted      error
        outcomes_missing         returned, expected (numbers of outcomes and of changes)
        refused_by_second        item, error (its type), during a rebuild of an index
    """

    DEAD_LETTER = "dead_letter"
    BATCH_REPORTED = "batch_reported"
    VERSION_ORDER_VIOLATION = "version_order_violation"
    OUTCOMES_MISSING = "outcomes_missing"
    BREAKER_OPEN = "breaker_open"
    SOURCE_AT_FAULT = "source_at_fault"
    ACCESS_DENIED = "access_denied"
    ATTEMPT_NOT_COUNTED = "attempt_not_counted"
    REFUSED_BY_SECOND = "refused_by_second"

    def fields(self, **fields: object) -> dict[str, object]:
        """Return the fields of a line, for `extra`; None is left out.

        Lambda's JSON log format writes them at the top level of the line
        (https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html).
        """
        return {"event": self.value} | {n: v for n, v in fields.items() if v is not None}


class Operation(StrEnum):
    """The requests of an operator to a function; see `control`."""

    REPLAY = "replay"
    INSPECT = "inspect"
    REPAIR = "repair"
    VERIFY = "verify"
    BACKFILL = "backfill"
    REMOVE = "remove"
    REBUILD_SUMS = "rebuild-sums"
    REBUILD_INDEX = "rebuild-index"
    PURGE = "purge"
    NOTES = "notes"


class ErasureOperation(StrEnum):
    """The requests to the function that erases; see `control.erasure`."""

    FIND = "find"
    ERASE = "erase"
    COMPLETE = "complete"
