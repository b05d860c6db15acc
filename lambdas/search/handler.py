"""Lambda function of the search sink: keeps the search index in step."""

from functools import cache

from opensearchpy import OpenSearch
from pydantic_core import to_json

from dynamodb_streams_cdc import BatchResponse, LambdaContext, Processor, Search, StreamEvent
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_documents import as_json
from dynamodb_streams_cdc.canary import unless_canary
from dynamodb_streams_cdc.entities import Index
from lambdas import runtime
from lambdas.search.settings import SearchSettings
from lambdas.search_client import search_client


@cache
def processor() -> Processor:
    """Return the function's processor, made once."""
    settings = SearchSettings.load()
    table = runtime.declared(settings)
    client = search_client(settings.search_endpoint, settings.search_auth, settings.search_region)
    sinks = {
        entity.name: Search(
            _index(client, settings, entity.index), unless_canary(entity.document, None)
        )
        for entity in table.entities
        if entity.document is not None and entity.index is not None
    }
    source_table = runtime.source_table(settings.source_table_name)
    return runtime.build(settings, table, sinks, source_table)


def _index(client: OpenSearch, settings: SearchSettings, index: Index) -> OpenSearchIndex:
    name = f"{settings.search_index_prefix}{index.name}"
    return OpenSearchIndex(client, name, index.properties, index.settings, encoded)


def encoded(value: object) -> bytes:
    """Return a document as JSON, by pydantic's compiled encoder."""
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate, which the standard library escapes
        return as_json(value)


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Apply a batch of changes to the index."""
    return processor()(event, context)


runtime.prepare(processor)
