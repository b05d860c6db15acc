"""The client of OpenSearch, for the functions that reach it."""

from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

from lambdas import runtime


def search_client(endpoint: str, auth: str, region: str) -> OpenSearch:
    """Return a client; requests are signed for the Region if `auth` is `iam`."""
    signer = None
    if auth == "iam":
        credentials = runtime.session().get_credentials()
        signer = Urllib3AWSV4SignerAuth(credentials, region, "es")
    return OpenSearch(
        endpoint,
        http_auth=signer,
        connection_class=Urllib3HttpConnection,
        max_retries=0,
        pool_maxsize=2,
    )
