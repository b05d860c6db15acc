"""Lambda function of the search sink: keeps the search index in step."""

from functools import cache

from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection
from pydantic_core import to_json

from dynamodb_streams_cdc import BatchResponse, LambdaContext, Processor, Search, StreamEvent
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex, as_json
from dynamodb_streams_cdc.canary import unless_canary
from lambdas import runtime
from lambdas.domain.search_document import PROPERTIES, SETTINGS, document
from lambdas.search.settings import SearchSettings


@cache
def processor() -> Processor:
    """Return the function's processor, made at its cold start."""
    settings = SearchSettings.load()
    index = OpenSearchIndex(_client(settings), settings.search_index, PROPERTIES, SETTINGS, encoded)
    return runtime.build(
        settings,
        Search(index, unless_canary(document, None)),
        table=runtime.source_table(settings.source_table_name),
        image_store=runtime.large_images(settings.large_images_bucket),
    )


def encoded(value: object) -> bytes:
    """Return a document as JSON, by pydantic's compiled encoder."""
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate, which the standard library escapes
        return as_json(value)


def _client(settings: SearchSettings) -> OpenSearch:
    signer = None
    if settings.search_auth == "iam":
        credentials = runtime.session().get_credentials()
        signer = Urllib3AWSV4SignerAuth(credentials, settings.search_region, "es")
    return OpenSearch(
        settings.search_endpoint,
        http_auth=signer,
        connection_class=Urllib3HttpConnection,
        max_retries=0,
        pool_maxsize=2,
    )


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Apply a batch of changes to the index."""
    return processor()(event, context)
