"""Eight lanes, one hot aggregate, 10,000 changes, every fifth transaction refused: exact.

`benchmarks.suites.hot_aggregate` has the workload, and measures it.
"""

from benchmarks.suites import hot_aggregate


def test_a_hot_aggregate_is_exact_whatever_conflicts(dynamodb_local_url: str) -> None:
    run = hot_aggregate.run(dynamodb_local_url, 8, 10_000, "injected", shards=8)
    assert run.row.changes == 10_000
    assert run.row.refused >= 0.1 * run.row.transactions
    run.check()
    rows = run.ledger.client.scan(TableName=run.ledger.aggregates, ConsistentRead=True)["Items"]
    committed = run.row.transactions - run.row.refused
    assert sum(int(row["revision"]["N"]) for row in rows) == committed


def test_transactions_that_overlap_on_one_row_are_exact(dynamodb_local_url: str) -> None:
    run = hot_aggregate.run(dynamodb_local_url, 4, 1_000, "overlapping", shards=1)
    assert run.row.refused > 0
    run.check()
