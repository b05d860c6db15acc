"""Sequence diagrams of timelines say what happened, in Mermaid's words."""

import re

import pytest

from dynamodb_streams_cdc.testing import Lab
from tools import docs
from tools.diagrams import drawn

STATEMENT = re.compile(
    r"participant [AMFSD] as [\w ]+|Note over [AMF]: [^;#]+|[MFS](->>|-->>|--x|-x)[MFSD]: [^;#]+"
    r"|loop \d+ times|end|sequenceDiagram"
)


class Shop:
    def __init__(self) -> None:
        self.orders: list[str] = []

    def order(self, name: str) -> None:
        if name == "3":
            raise ValueError(name)
        self.orders.append(name)


def lab() -> Lab:
    made = Lab(MaximumRetryAttempts=3)
    shop = made.faulty(Shop())

    @made.function
    def order(event: object, context: object) -> None:
        for record in made.deliveries[-1].records:
            shop.order(record["dynamodb"]["Keys"]["id"]["S"])

    return made


def test_a_diagram_of_a_run_with_everything_in_it() -> None:
    made = lab()
    made.throttle()
    made.crash_after("order")
    made.put({"id": "1"})
    made.run()
    made.redeliver()
    made.put({"id": "2"})
    made.run()
    made.put({"id": "3"})
    made.run()
    assert drawn(made.timeline.entries, "shop").splitlines() == [
        "sequenceDiagram",
        "    participant A as application",
        "    participant M as mapping",
        "    participant F as function",
        "    participant S as shop",
        "    participant D as dead letters",
        "    Note over A: put id: 1",
        "    M-xF: INSERT 1, throttled",
        "    M->>F: INSERT 1",
        "    F->>S: order(1)",
        "    Note over F: dies in order, after it took effect",
        "    F--xM: no answer",
        "    M->>F: INSERT 1 again",
        "    F->>S: order(1)",
        "    F-->>M: success",
        "    Note over A: put id: 2",
        "    M->>F: INSERT 2",
        "    F->>S: order(2)",
        "    F-->>M: success",
        "    Note over M: delivers it again all the same",
        "    M->>F: INSERT 2",
        "    F->>S: order(2)",
        "    F-->>M: success",
        "    Note over A: put id: 3",
        "    M->>F: INSERT 3",
        "    F->>S: order(3)",
        "    S--xF: ValueError('3')",
        "    F--xM: ValueError('3')",
        "    loop 3 times",
        "        M->>F: INSERT 3 again",
        "        F->>S: order(3)",
        "        S--xF: ValueError('3')",
        "        F--xM: ValueError('3')",
        "    end",
        "    M->>D: INSERT 3",
    ]


def test_the_diagrams_in_the_pages_are_mermaid() -> None:
    shown = re.findall(
        r"<!-- diagram.*?```mermaid\n(.*?)```",
        " ".join(page.read_text() for page in docs.hand_written()),
        re.DOTALL,
    )
    assert len(shown) > 20
    for line in "".join(shown).splitlines():
        assert STATEMENT.fullmatch(line.strip()), line


def test_a_page_that_asks_for_what_is_not_there_is_refused() -> None:
    page = "<!-- code: tools/docs.py no_such_thing -->\n```python\n```\n"
    with pytest.raises(docs.NotShown, match=r"tools/docs.py does not define no_such_thing"):
        docs.fill(page)


def test_text_of_an_unknown_language_is_refused() -> None:
    page = "<!-- text: Makefile PYTHON -->\n```make\n```\n"
    with pytest.raises(docs.NotShown, match=r"^Makefile has no known language: .* \.py or \.yaml$"):
        docs.fill(page)


def test_a_block_is_filled_in_and_the_rest_left_as_it_is() -> None:
    page = "# A\n\n<!-- code: tools/site.py SITE -->\n```python\nold\n```\n\nB ```python\n"
    filled = docs.fill(page)
    assert 'SITE = ROOT / "build" / "site"' in filled
    assert filled.startswith("# A\n\n<!-- code: tools/site.py SITE -->\n```python\n")
    assert filled.endswith("```\n\nB ```python\n")
    assert docs.fill(filled) == filled
