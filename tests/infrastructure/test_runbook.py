"""Who is woken by an alarm finds what to do, and the queries find what the functions write."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Outcome, PermanentError, Processor, RetryableError
from dynamodb_streams_cdc.metrics import Counts, LogMetrics
from dynamodb_streams_cdc.names import LogEvent
from tests.factories import SOURCE, FakeContext, ManualClock, change, order, record
from tests.infrastructure.templates import Assembly, flat, of_type, only
from tools import alarms_page, costs, functions_page

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r" Runbook: (?P<file>\S+)#(?P<section>\S+)$")
ALARMS = ("AWS::CloudWatch::Alarm",)
QUERY = "AWS::Logs::QueryDefinition"
# Sections that no alarm names: `make deploy` names the first, other sections the second.
NO_ALARM = {"the-first-deploy-failed", "another-domain"}


def test_every_alarm_names_a_section_of_the_runbook(everything: Assembly) -> None:
    found = dict(_alarms(everything))
    assert {resource["Type"] for resource in found.values()} == set(ALARMS)
    for logical_id, alarm in found.items():
        reference = REFERENCE.search(alarm["Properties"]["AlarmDescription"])
        assert reference is not None, logical_id
        assert reference["section"] in _sections(ROOT / reference["file"]), logical_id


def test_the_runbook_has_no_section_of_an_alarm_that_is_gone(everything: Assembly) -> None:
    named: set[str] = set()
    for _, alarm in _alarms(everything):
        reference = REFERENCE.search(alarm["Properties"]["AlarmDescription"])
        assert reference is not None
        named.add(reference["section"])
    assert named | NO_ALARM == set(_sections(ROOT / "docs/how-to/runbook.md"))


def test_an_alarm_on_a_release_says_how_to_deploy_its_fix(everything: Assembly) -> None:
    resources = everything.pipeline["Resources"]
    page = (ROOT / "docs/how-to/runbook.md").read_text()
    texts = dict(
        zip(_sections(ROOT / "docs/how-to/runbook.md"), page.split("\n## ")[1:], strict=True)
    )
    groups = of_type(everything.pipeline, "AWS::CodeDeploy::DeploymentGroup")
    assert groups
    for group in groups.values():
        assert group["Properties"]["AlarmConfiguration"]["Alarms"]
        for alarm in group["Properties"]["AlarmConfiguration"]["Alarms"]:
            description = resources[flat(alarm["Name"])]["Properties"]["AlarmDescription"]
            reference = REFERENCE.search(description)
            assert reference is not None
            assert "`-c release=direct`" in texts[reference["section"]], reference["section"]


def test_the_role_on_call_may_do_what_the_sections_of_alarms_do() -> None:
    page = (ROOT / "docs/how-to/runbook.md").read_text()
    preface, *sections = page.split("\n## ")
    of_who_deploys = ("Domain key unusable", "Another domain", "The first deploy failed")
    done = {
        f"{service}:{''.join(word.title() for word in command.split('-'))}"
        for section in sections
        if not section.startswith(of_who_deploys)
        for service, command in re.findall(r"\baws ([a-z]+) ([a-z-]+)", section)
        if not command.startswith(("describe-", "get-", "list-"))
    }
    assert "lambda:UpdateEventSourceMapping" in done
    assert {f"`{action}`" for action in done} <= set(re.findall(r"`[a-z]+:\w+`", preface))


def test_the_reference_shows_alarms_and_mappings(
    sandbox: Assembly, production: Assembly, everything: Assembly
) -> None:
    pipelines = {"sandbox": sandbox.pipeline, "production": production.pipeline}
    functions = functions_page.page(pipelines)
    assert functions == functions_page.PAGE.read_text(), "run `python -m tools.template_pages`"
    shown = alarms_page.page(pipelines, everything.pipeline)
    assert shown == alarms_page.PAGE.read_text(), "run `python -m tools.template_pages`"
    counted = json.loads(costs.QUANTITIES.read_text())
    assert costs.count(pipelines) == counted, "run `python -m tools.template_pages`"
    listed = re.findall(r"^\| `(\w+)` \|", shown, re.MULTILINE)
    for logical_id, _ in _alarms(everything):
        assert any(name in logical_id for name in listed), logical_id


def test_a_section_is_told_from_the_text_before_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## Fixed, but slow\n\n    ## no heading\n\n### Below\n")
    assert _sections(page) == ["fixed-but-slow"]


def test_queries_cover_all_functions_and_are_in_the_runbook(
    production: Assembly,
) -> None:
    runbook = (ROOT / "docs/how-to/runbook.md").read_text()
    for query in of_type(production.pipeline, QUERY).values():
        folder, _, name = query["Properties"]["Name"].partition("/")
        groups = {flat(group) for group in query["Properties"]["LogGroupNames"]}
        assert folder == "cdc-production-pipeline"
        assert f"`{name}`" in runbook
        assert {re.sub("Logs.*", "", g.rpartition("Ref")[2]) for g in groups} == {
            "Aggregation",
            "Audit",
            "Maintenance",
            "Search",
            "Watcher",
        }


@pytest.mark.parametrize("event", LogEvent)
def test_every_log_event_is_in_a_query(production: Assembly, event: LogEvent) -> None:
    queries = of_type(production.pipeline, QUERY).values()
    assert any(f'"{event}"' in query["Properties"]["QueryString"] for query in queries)


def test_the_emulator_gets_no_saved_queries(local: Assembly) -> None:
    types = {resource["Type"] for resource in local.pipeline["Resources"].values()}
    assert QUERY not in types


class TestQueriesFindWhatIsWritten:
    def test_a_dead_letter_with_its_reason(
        self, production: Assembly, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = _logged_for(PermanentError("no", "mapper_parsing_exception"), caplog)
        _finds(production, "DeadLettersByReason", found, {"event", "dead_letter", "reason"})
        assert found["reason"] == "mapper_parsing_exception"
        assert re.fullmatch(r"[0-9a-f]{64}/\S+\.json", found["dead_letter"])

    def test_an_outage_with_its_error(
        self, production: Assembly, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = _logged_for(RetryableError("HTTP 503: no node (yet)"), caplog)
        _finds(production, "NotDone", found, {"event", "reported", "error"})
        assert (found["reported"], found["received"], found["error"]) == (1, 1, "RetryableError")

    def test_a_batch_that_no_record_can_be_named_of(
        self, production: Assembly, caplog: pytest.LogCaptureFixture
    ) -> None:
        clock = ManualClock()
        processor = Processor("search", SOURCE, Refusing(KeyError("no")), Kept(), clock=clock)
        unnamed = record(1, None, order())
        del unnamed["dynamodb"]["SequenceNumber"], unnamed["dynamodb"]["StreamViewType"]
        unnamed["dynamodb"]["ApproximateCreationDateTime"] = clock.now()
        processor({"Records": [unnamed]}, FakeContext(clock, seconds=10))
        found = vars(caplog.records[-1])
        _finds(production, "NotDone", found, {"event", "reported", "error"})
        assert (found["sequence_number"], found["error"]) == ("", "MalformedSource")

    def test_a_version_order_violation(
        self, production: Assembly, caplog: pytest.LogCaptureFixture
    ) -> None:
        Outcome().refused(change(9, None, order()), held_timestamp=1.0)
        _finds(production, "VersionOrderViolation", vars(caplog.records[-1]), {"event", "item"})

    def test_the_counts(self, production: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
        LogMetrics("production", "audit").emit(Counts())
        written = json.loads(capsys.readouterr().out)
        query = _query(production, "Counts")
        asked = set(re.findall(r"(?:sum|ispresent)\((\w+)\)", query)) | {"Processor"}
        assert "Received" in asked
        assert asked <= set(written)


class Refusing:
    """A sink that fails every change in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def apply(self, changes: Any, deadline: Any) -> Outcome:
        return Outcome(failures=dict.fromkeys(changes, self.error))


class Kept:
    """A bucket that takes every dead letter."""

    def write(self, dead_letter: Any) -> bool:
        return True


def _logged_for(error: Exception, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the line that a processor logs of a change that fails."""
    clock = ManualClock()
    processor = Processor("search", SOURCE, Refusing(error), Kept(), clock=clock)
    processor({"Records": [record(1, None, order())]}, FakeContext(clock, seconds=10))
    (line,) = caplog.records
    return vars(line)


def _query(assembly: Assembly, id: str) -> str:
    return str(only(assembly.pipeline, QUERY, f"Observability{id}")["Properties"]["QueryString"])


def _finds(assembly: Assembly, id: str, logged: dict[str, Any], asked: set[str]) -> None:
    """A query's filter lets a line through, and its fields are in the line."""
    text = _query(assembly, id)
    wanted = re.search(r'filter event = "(.*)"', text)
    assert wanted is not None
    assert logged["event"] == wanted[1]
    assert asked <= set(logged)
    assert asked <= set(re.findall(r"\w+", text)), "the query asks for each of these"


def _alarms(assembly: Assembly) -> Iterator[tuple[str, dict[str, Any]]]:
    for template in assembly.templates.values():
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] in ALARMS:
                yield logical_id, resource


def _sections(page: Path) -> list[str]:
    """The anchors of a page's second-level headings, as GitHub makes them."""
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
