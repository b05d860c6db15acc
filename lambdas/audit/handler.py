"""Lambda function of the audit sink: keeps the change log complete."""

from functools import cache

from dynamodb_streams_cdc import BatchResponse, ChangeLog, LambdaContext, Processor, StreamEvent
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from lambdas import runtime
from lambdas.audit.settings import AuditSettings


@cache
def processor() -> Processor:
    """Return the function's processor, made once."""
    settings = AuditSettings.load()
    log = DynamoDbLog(runtime.dynamodb(), settings.change_log_table)
    image_store = runtime.large_images(settings.large_images_bucket)
    table = runtime.declared(settings)
    sink = ChangeLog(log, image_store)
    sinks = {entity.name: sink for entity in table.using("audit")}
    return runtime.build(settings, table, sinks, runtime.source_table(settings.source_table_name))


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Add a batch of changes to the log."""
    return processor()(event, context)


runtime.prepare(processor)
