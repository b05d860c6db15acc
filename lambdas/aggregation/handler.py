"""Lambda function of the aggregation sink: keeps the sums right."""

from functools import cache

from dynamodb_streams_cdc import (
    Aggregation,
    BatchResponse,
    LambdaContext,
    Processor,
    StreamEvent,
)
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.canary import unless_canary
from lambdas import runtime
from lambdas.aggregation.settings import AggregationSettings
from lambdas.domain.contributions import EXPIRY, contributions


@cache
def processor() -> Processor:
    """Return the function's processor, made at its cold start."""
    settings = AggregationSettings.load()
    ledger = DynamoDbLedger(
        runtime.dynamodb(),
        settings.idempotency_table,
        settings.aggregates_table,
        settings.aggregate_shards,
    )
    return runtime.build(
        settings,
        Aggregation(ledger, unless_canary(contributions, {}), EXPIRY),
        table=runtime.source_table(settings.source_table_name),
    )


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Apply a batch of changes to the sums."""
    return processor()(event, context)
