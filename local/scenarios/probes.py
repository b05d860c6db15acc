"""Probes of the sinks: does a sink show the last state of an order yet?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from local.verify.expected import aggregates_of, item_of, sum_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.scenarios.lag import Probe
    from local.verify import DeployedCopies
    from local.workload.traffic import Finished, Key

_KEYS_OF_ONE_BATCH = 100


def probes_of(client: DynamoDBClient, ledger: str, copies: DeployedCopies) -> Mapping[str, Probe]:
    """Return a probe by sink; `ledger` is the table of the ledger."""
    decode = TypeDeserializer().deserialize

    def aggregation(orders: Sequence[Finished]) -> set[Key]:
        """The ledger row of an order is written in one transaction with its aggregates."""
        keys = {f"ledger/{item_of(*each.key)}": each for each in orders[:_KEYS_OF_ONE_BATCH]}
        response = client.batch_get_item(
            RequestItems={
                ledger: {"Keys": [{"id": {"S": key}} for key in keys], "ConsistentRead": True}
            }
        )
        rows = {row["id"]["S"]: row for row in response["Responses"].get(ledger, [])}
        shown = set()
        for key, each in keys.items():
            contribution = decode(rows[key]["contribution"]) if key in rows else {}
            if sum_of(contribution.items()) == aggregates_of([_last(each)]):
                shown.add(each.key)
        return shown

    def search(orders: Sequence[Finished]) -> set[Key]:
        found = copies.find([item_of(*each.key) for each in orders])
        return {
            each.key
            for each in orders
            if found.get(item_of(*each.key), {}).get("status") == _last(each)["status"]
        }

    def audit(orders: Sequence[Finished]) -> set[Key]:
        return {
            each.key
            for each in orders
            if copies.history_length(item_of(*each.key))
            >= sum(step.effective for step in each.steps)
        }

    return {"aggregation": aggregation, "search": search, "audit": audit}


def _last(finished: Finished) -> dict[str, Any]:
    return finished.steps[-1].after or {}
