"""Output for programs: a long list is written value by value, as it would be at once."""

import itertools
from typing import Any

import pytest

from dynamodb_streams_cdc.cli.output import print_json, print_json_list


@pytest.mark.parametrize("values", [[], [{"item": "a\nb", "of": [1, {}]}], [{}, {"é": None}, 3]])
def test_a_list_is_written_as_in_one_document(
    values: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"complete": True, "read": {"search": 3}}
    print_json({"differences": values, **others})
    expected = capsys.readouterr().out
    print_json_list("differences", iter(values), others)
    assert capsys.readouterr().out == expected


def test_a_list_is_not_held(capsys: pytest.CaptureFixture[str]) -> None:
    written = []

    def values() -> Any:
        for number in itertools.count():
            written.append(capsys.readouterr().out)
            if number == 3:
                raise KeyboardInterrupt
            yield {"number": number}

    with pytest.raises(KeyboardInterrupt):
        print_json_list("differences", values(), {})
    assert [f'"number": {n}' in text for n, text in enumerate(written[1:])] == [True] * 3
