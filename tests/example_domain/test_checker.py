"""What the example domain's own checker expects; `tests/integration/test_demo.py` runs it."""

import ast
from pathlib import Path

from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, read_purchases
from tests.example_domain.expected import aggregates_of


def test_the_sample_adds_up_per_month() -> None:
    """Independent of the sinks: revenue and refunds of all months are the orders that exist."""
    ends = [life_cycle(each, 1)[-1] for each in read_purchases(SAMPLE)]
    orders = [each for each in ends if each is not None]

    found = aggregates_of(orders)

    months = [measures for key, measures in found.items() if key.startswith("month#")]
    assert len(months) == 18
    money = sum(each["revenue"] + each.get("refunds", 0) for each in months)
    assert money == sum(each["total"] for each in orders)


def test_the_checker_shares_no_code_with_the_sinks() -> None:
    folder = Path(__file__).parent
    imported = set()
    for module in ("checker", "expected", "history"):
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(node.module or "")

    own = {
        name
        for name in imported
        if name.startswith(("local", "lambdas", "dynamodb_streams", "tests"))
    }
    assert own
    assert own == {
        "local.verify.comparison",  # how a difference reads
        "tests.example_domain.expected",
        "tests.example_domain.history",
    }
