"""Checkov's findings against the table: on reports as it writes them, without checkov."""

import json
from pathlib import Path
from typing import Any

import pytest

from lambdas import example_domain
from stacks.findings import ACCEPTED
from tools import lint_templates
from tools.example_context import CONTEXT
from tools.lint_templates import Finding, NotCheckedError, findings, judge, receiver, run

ACCEPTED_BY_CHECKOV = [
    Finding(row.profile or "sandbox", row.rule, f"cdc-sandbox-{row.at.replace('%', 'x')}", "")
    for row in ACCEPTED
    if row.rule.startswith("CKV")
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What synth writes about one resource."""
    entry = {"type": "aws:cdk:logicalId", "data": "AuditLogs1234ABCD"}
    made = tmp_path / "sandbox"
    made.mkdir()
    metadata = {"/cdc-sandbox-pipeline/Audit/Logs/Resource": [entry]}
    (made / "cdc-sandbox-pipeline.metadata.json").write_text(json.dumps(metadata))
    return made


def report(rule: str = "CKV_AWS_158") -> dict[str, Any]:
    failed = {
        "check_id": rule,
        "check_name": "Ensure it",
        "file_path": "/cdc-sandbox-pipeline.template.json",
        "resource": "AWS::Logs::LogGroup.AuditLogs1234ABCD",
    }
    return {"failed_checks": [failed]}


def test_a_finding_is_named_by_its_construct(folder: Path) -> None:
    (found,) = findings(report(), folder)
    path = "cdc-sandbox-pipeline/Audit/Logs/Resource"
    assert found == Finding("sandbox", "CKV_AWS_158", path, "Ensure it")
    assert [row.rule for row in found.rows] == ["CKV_AWS_158"]


def test_a_finding_without_a_row_is_reported(folder: Path) -> None:
    (found,) = findings(report("CKV_AWS_999"), folder)
    (problem,) = judge([*ACCEPTED_BY_CHECKOV, found])
    assert "CKV_AWS_999 at cdc-sandbox-pipeline/Audit/Logs/Resource" in problem


def test_a_row_that_accepts_nothing_is_reported() -> None:
    assert judge(ACCEPTED_BY_CHECKOV) == []
    without = [finding for finding in ACCEPTED_BY_CHECKOV if finding.rule != "CKV_AWS_173"]
    (problem,) = judge(without)
    assert "CKV_AWS_173 at pipeline/%/Function accepts nothing" in problem


def test_in_a_fork_a_row_may_accept_nothing(folder: Path) -> None:
    """It may have no documents, and so no domain with findings."""
    assert judge([], fork=True) == []
    (found,) = findings(report("CKV_AWS_999"), folder)
    assert len(judge([found], fork=True)) == 1


def test_a_tree_with_other_settings_is_a_fork(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lint_templates, "TABLES", example_domain.TABLES)
    monkeypatch.setattr(lint_templates, "cdk_json", lambda: CONTEXT)
    assert not lint_templates.is_fork()
    own = {**CONTEXT, "environments": {"sandbox": {"index_prefix": "climate-"}}}
    monkeypatch.setattr(lint_templates, "cdk_json", lambda: own)
    assert lint_templates.is_fork()


@pytest.mark.parametrize(
    "settings",
    [
        {"alarm_email": "climate@example.com"},
        {"alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:on-call"},
        {"alarms": "none"},
    ],
)
def test_a_receiver_that_cdk_json_names_is_kept(settings: dict[str, str]) -> None:
    named = ["--context", "alarm_email=on-call@example.com"]
    context = {"environments": {"production": settings}}
    assert receiver("production", context) == []
    assert receiver("sandbox", context) == receiver("sandbox", {}) == named
    assert receiver("sandbox", {**context, **settings}) == []


def test_templates_that_cannot_be_made_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(lint_templates, "FOLDER", tmp_path)
    monkeypatch.setattr("tools.account.cdk.synth", lambda environment, options: 1)
    assert lint_templates.main(["checkov", "sandbox"]) == 1
    assert "cdk synth of environment sandbox failed with status 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "prints",
    [
        "",
        "no report",
        "[]",
        json.dumps({"passed": 0, "failed": 0}),
        json.dumps({"summary": {"passed": 0, "parsing_errors": 0}, "results": {}}),
        json.dumps({"summary": {"passed": 9, "parsing_errors": 1}, "results": {}}),
    ],
)
def test_a_report_on_no_template_is_an_error(tmp_path: Path, prints: str) -> None:
    """Checkov itself ends well where it finds no template."""
    checkov = tmp_path / "checkov"
    checkov.write_text(f"#!/bin/sh\nprintf '%s' '{prints}'\n")
    checkov.chmod(0o755)
    with pytest.raises(NotCheckedError, match=str(tmp_path)):
        run(str(checkov), tmp_path)


def test_missing_arguments_print_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_templates.main([]) == 2
    assert "CHECKOV ENVIRONMENT" in capsys.readouterr().out


def test_checkov_gets_no_path_of_this_machine(tmp_path: Path) -> None:
    """It takes 40 characters of a path for a key of AWS, and says so of each function."""
    checkov = tmp_path / "checkov"
    summary = '{"results": {}, "summary": {"parsing_errors": 0, "passed": 1}}'
    checkov.write_text(f"#!/bin/sh\necho \"$*\" > given\nprintf '%s' '{summary}'\n")
    checkov.chmod(0o755)
    assert run(str(checkov), tmp_path) == {}
    assert str(tmp_path) not in (tmp_path / "given").read_text()
