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
from dynamodb_streams_cdc.sinks.generations import GenerationsCache
from lambdas import runtime
from lambdas.aggregation.settings import AggregationSettings


@cache
def processor() -> Processor:
    """Return the function's processor, made once."""
    settings = AggregationSettings.load()
    ledger = DynamoDbLedger(
        runtime.dynamodb(),
        settings.idempotency_table,
        settings.aggregates_table,
        settings.aggregate_shards,
    )
    table = runtime.declared(settings)
    cache = GenerationsCache()
    sinks = {
        entity.name: Aggregation(
            ledger, unless_canary(entity.contributions, {}), entity.expiry, cache=cache
        )
        for entity in table.entities
        if entity.contributions is not None
    }
    return runtime.build(settings, table, sinks, runtime.source_table(settings.source_table_name))


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Apply a batch of changes to the sums."""
    return processor()(event, context)


runtime.prepare(processor)
