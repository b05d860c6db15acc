"""A domain with fine-grained access control refuses an unmapped role with status 403.

The role's policy and the domain's policy permit the request; the security plugin does not:
"no permissions for [indices:data/write/bulk] and User [name=arn:aws:iam::111122223333:role/...".
https://github.com/opensearch-project/security/issues/4595
"""

import logging
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch, Urllib3HttpConnection
from opensearchpy.exceptions import AuthorizationException

from dynamodb_streams_cdc import Deadline, Processor, RetryableError, Source
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from dynamodb_streams_cdc.control.erasure_copies import IndexPlace
from dynamodb_streams_cdc.errors import AccessDeniedError
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from lambdas.example_domain.order import INDEX, document
from tests.factories import FakeContext, ManualClock, order, record
from tests.infrastructure.templates import Assembly, only, processors
from tests.infrastructure.test_erasure_permissions import ITEM, ErasingCalls

ROLE = "arn:aws:iam::111122223333:role/cdc-production-SearchRole"
REASON = (
    "no permissions for [indices:data/write/bulk] and User "
    f"[name={ROLE}, backend_roles=[{ROLE}], requestedTenant=null]"
)
ERROR = {"type": "security_exception", "reason": REASON}
BODY = {"error": {"root_cause": [ERROR], **ERROR}, "status": 403}
REFUSED = AuthorizationException(403, "security_exception", BODY)


class Domain:
    """A client whose domain refuses every request, or every document of one."""

    def __init__(self, *, each_document: bool) -> None:
        self.each_document = each_document
        self.requests = 0
        self.indices = self

    def bulk(self, body: bytes, **_: Any) -> Any:
        self.requests += 1
        if not self.each_document:
            raise REFUSED
        documents = body.count(b"\n") // 2
        return {"items": [{"create": {"status": 403, "error": ERROR}}] * documents}

    def get_alias(self, **_: Any) -> Any:
        """Answer the first request: whether there is a second index."""
        if self.each_document:
            return {"error": {"type": MISSING}, "status": 404}
        self.requests += 1
        raise REFUSED

    def create(self, **_: Any) -> None:
        raise REFUSED

    def get(self, **_: Any) -> None:
        raise REFUSED


class Kept(list[Counts]):
    def emit(self, counts: Counts) -> None:
        self.append(counts)


@pytest.mark.parametrize("each_document", [False, True])
def test_the_first_answer_names_the_role_to_map(
    each_document: bool, caplog: pytest.LogCaptureFixture
) -> None:
    domain: Any = Domain(each_document=each_document)
    sink = Search(OpenSearchIndex(domain, "orders", INDEX.properties, INDEX.settings), document)
    dead_letters, counts, clock = MemoryDeadLetters(), Kept(), ManualClock()
    processor = Processor(
        "search", Source("orders"), sink, dead_letters, metrics=counts, clock=clock
    )
    response = processor({"Records": [record(1, None, order())]}, FakeContext(clock))
    assert len(response["batchItemFailures"]) == 1
    assert domain.requests == 1
    assert counts == [Counts(received=1, reported=1, access_denied=1)]
    assert dead_letters.dead_letters == {}
    (line,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert f"{ROLE} is not mapped to an OpenSearch role" in line.getMessage()
    assert "indices:data/write/bulk" in line.getMessage()


def test_an_index_that_may_not_be_created_or_read_says_the_same() -> None:
    index = OpenSearchIndex(Domain(each_document=False), "orders", INDEX.properties, INDEX.settings)  # type: ignore[arg-type]
    for request in (index.create, lambda deadline: index.read("orders/1", deadline)):
        with pytest.raises(AccessDeniedError, match="map it"):
            request(Deadline())


def test_an_outage_is_not_a_lost_permission() -> None:
    class Down(Domain):
        def bulk(self, body: bytes, **_: Any) -> Any:
            raise RetryableError

    counts, clock = Kept(), ManualClock()
    index = OpenSearchIndex(Down(each_document=True), "orders", INDEX.properties, INDEX.settings)  # type: ignore[arg-type]
    sink = Search(index, document)
    processor = Processor(
        "search", Source("orders"), sink, MemoryDeadLetters(), metrics=counts, clock=clock
    )
    processor({"Records": [record(1, None, order())]}, FakeContext(clock))
    assert counts == [Counts(received=1, reported=1)]


def test_its_alarm_fires_within_minutes(sandbox: Assembly) -> None:
    for processor in processors(sandbox.pipeline):
        prefix = f"Observability{processor.capitalize()}AccessDenied"
        alarm = only(sandbox.pipeline, "AWS::CloudWatch::Alarm", prefix)["Properties"]
        assert (alarm["MetricName"], alarm["Statistic"]) == ("AccessDenied", "Sum")
        assert alarm["Period"] * alarm["EvaluationPeriods"] == 300
        assert "#access-denied" in alarm["AlarmDescription"]


def test_the_runbook_says_how_to_map_the_role() -> None:
    assert "(use-an-existing-domain.md#fine-grained-access-control)" in _section(
        "runbook.md", "Access denied"
    )
    request = _section("use-an-existing-domain.md", "Fine-grained access control")
    assert "_plugins/_security/api/rolesmapping/" in request
    assert "cluster_composite_ops" in request, "which has indices:data/write/bulk"


ACTIONS = {
    "_alias": "indices:admin/aliases/get",
    "_mapping": "indices:admin/mappings/get",
    "_mget": "indices:data/read/mget",
    "_doc": "indices:data/write/delete",
}
"""What the plugin calls the requests of an erasure."""
CRUD = ("indices:data/read*", "indices:data/write*")
"""Of the default group `crud`, which has no mapping:
https://github.com/opensearch-project/security/blob/main/src/main/resources/static_config/static_action_groups.yml
"""


def test_the_page_gives_the_erasure_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ErasingCalls()
    monkeypatch.setattr(Urllib3HttpConnection, "perform_request", calls.search)
    client = OpenSearch("http://127.0.0.1", connection_class=Urllib3HttpConnection)
    place = IndexPlace(OpenSearchIndex(client, "orders", {}, {}).every)
    for trace in place.find({ITEM: {}}, None, Deadline()).traces:
        trace.erase(frozenset({ITEM}), Deadline())
    asked = {part for _, url in calls.needed for part in re.findall(r"/(_\w+)", url)}
    assert asked == ACTIONS.keys()
    _, _, section = _section("use-an-existing-domain.md", "Fine-grained access control").partition(
        "The function that [erases]"
    )
    assert "`crud`" in section
    patterns = [*CRUD, *re.findall(r"`(indices:\S+)`", section)]
    assert [a for a in ACTIONS.values() if not any(fnmatchcase(a, p) for p in patterns)] == []


def _section(page: str, heading: str) -> str:
    text = (Path(__file__).parents[3] / "docs/how-to" / page).read_text()
    _, _, section = text.partition(f"## {heading}\n")
    return section.partition("\n## ")[0]
