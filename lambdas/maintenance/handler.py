"""Lambda function of the maintenance: verifies a part of the copies and purges, on a schedule."""

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.metrics import publish
from dynamodb_streams_cdc.names import Metric
from dynamodb_streams_cdc.operations.aws.functions import CLIENT, LambdaFunctions
from dynamodb_streams_cdc.operations.maintenance import Maintenance
from lambdas import runtime
from lambdas.maintenance.settings import MaintenanceSettings

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class MaintenanceFailed(CdcError):
    """A part of the copies was not verified, or not purged; the message says why."""


@cache
def settings() -> MaintenanceSettings:
    """Return the function's settings, read at its cold start."""
    return MaintenanceSettings.load()


@cache
def client() -> "LambdaClient":
    """Return the function's client of Lambda."""
    return cast("LambdaClient", runtime.session().create_client("lambda", config=CLIENT))


def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Do the `task` of the event: `verify` or `purge`.

    Raises:
        MaintenanceFailed: a part of it was not done. What was done is published before.
    """
    known = settings()
    # Jobs are files; a run leaves none behind.
    os.environ["CDC_JOBS"] = tempfile.gettempdir()
    names = {name: function for name, (function, _) in known.processors.items()}
    work = Maintenance(
        LambdaFunctions(client(), names),
        {name: sink for name, (_, sink) in known.processors.items()},
        known.source_table_keys,
        seconds=context.get_remaining_time_in_millis() / 1000,
    )
    match event.get("task"):
        case "verify":
            verified = work.verify(known.verify_share / 100)
            for processor, differences in verified.differences.items():
                publish(known.pipeline, processor, {Metric.DIFFERENCES: differences})
            problems = verified.problems
        case "purge":
            problems = work.purge().problems
        case task:
            problems = [f"task: expected verify or purge, got {task!r}"]
    if problems:
        raise MaintenanceFailed("; ".join(problems))
