"""The example domain's functions give what `expected` computes without library and domain."""

import ast
from pathlib import Path

from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, read_purchases
from tests.example_domain import expected
from tests.example_domain.expected import aggregates_of, document_of, item_of, sum_of
from tests.example_domain.told import told


def test_each_state_has_the_sums_document_and_identity_expected() -> None:
    kinds = set()
    for story in told(800):
        assert story.entity is not None
        assert story.entity.contributions is not None
        assert story.entity.document is not None
        kinds.add(story.entity.name)
        for image in filter(None, story.states):
            assert sum_of(story.entity.contributions(image).items()) == aggregates_of([image])
            assert story.entity.document(image) == document_of(image)
            assert story.item == item_of(image["customer_id"], image["order_id"])
    assert kinds == {"order", "customer"}


def test_the_sample_adds_up_per_month() -> None:
    """Independent of the sinks: revenue and refunds of all months are the orders that exist."""
    ends = [life_cycle(each, 1)[-1] for each in read_purchases(SAMPLE)]
    orders = [each for each in ends if each is not None]

    found = aggregates_of(orders)

    months = [measures for key, measures in found.items() if key.startswith("month#")]
    assert len(months) == 18
    money = sum(each["revenue"] + each.get("refunds", 0) for each in months)
    assert money == sum(each["total"] for each in orders)


def test_it_shares_no_code_with_library_and_domain() -> None:
    nodes = [*ast.walk(ast.parse(Path(expected.__file__).read_text()))]
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "decimal" in imported
    own = ("local", "lambdas", "dynamodb_streams", "tests")
    assert not [name for name in imported if name.startswith(own)]
