"""The questions that the make targets for an AWS account ask, and the commands that they start."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tools.fake_aws import ACCOUNT, REGION, FakeAws, Stack
from tools.account import __main__ as command
from tools.account import cdk
from tools.account.identity import AccountError, sign_in

if TYPE_CHECKING:
    from tests.tools.conftest import Cdk


def test_nothing_goes_on_unless_the_account_is_named(
    started: Cdk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["deploy", "sandbox"]) == 1
    monkeypatch.setenv("CONFIRM", "999999999999")
    assert command.main(["deploy", "sandbox"]) == 1
    assert started.runs == []
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    assert command.main(["deploy", "sandbox"]) == 0
    assert len(started.runs) == 1
    said = capsys.readouterr().out
    assert f"AWS account {ACCOUNT}, Region {REGION}" in said
    assert f"repeat with CONFIRM={ACCOUNT}" in said
    assert f"the account is {ACCOUNT}, not 999999999999" in said


def test_a_first_deploy_is_protected_only_once_it_is_there(
    started: Cdk, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudFormation cannot remove protected resources after a failed first deploy."""
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setenv("CDK_OPTIONS", "-c alarms=none")
    aws.instance_types += ["r7g.large.search", "m7g.medium.search"]
    names = [f"cdc-production-{part}" for part in ("search-logs", "search", "pipeline")]
    aws.add(Stack(names[2], "ROLLBACK_COMPLETE"))
    assert command.main(["deploy", "production"]) == 0
    first, second = (arguments for arguments, _ in started.runs)
    assert first[:5] == ["deploy", *names, "--exclusively"]
    assert first[-4:] == ["-c", "alarms=none", "--context", "protection=false"]
    assert second[:2] == ["deploy", "--all"]
    assert second[-2:] == ["-c", "alarms=none"]


def test_a_new_stack_is_protected_in_the_second_pass(
    started: Cdk, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setenv("CDK_OPTIONS", "-c alarms=none")
    aws.instance_types += ["r7g.large.search", "m7g.medium.search"]
    aws.add(Stack("cdc-production-pipeline", "UPDATE_ROLLBACK_COMPLETE"))
    aws.add(Stack("cdc-production-search"))
    assert command.main(["deploy", "production"]) == 0
    first, second = (arguments for arguments, _ in started.runs)
    assert first[:3] == ["deploy", "cdc-production-search-logs", "--exclusively"]
    assert "protection=false" not in second

    started.runs.clear()
    aws.add(Stack("cdc-production-search-logs"))
    assert command.main(["deploy", "production"]) == 0
    [(only, _)] = started.runs
    assert "protection=false" not in only


def test_the_environment_is_chosen_in_one_place(
    started: Cdk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The CDK takes the last context, which may not be the confirmed environment."""
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setenv("CDK_OPTIONS", "-c environment=production")
    assert command.main(["deploy", "sandbox"]) == 1
    assert started.runs == []
    assert "CDK_OPTIONS chooses an environment: set ENVIRONMENT=" in capsys.readouterr().out


def test_a_first_pass_that_fails_is_not_followed_by_a_second(
    aws: FakeAws, started: Cdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setenv("CDK_OPTIONS", "-c alarms=none")
    aws.instance_types += ["r7g.large.search", "m7g.medium.search"]
    started.status = 1
    assert command.main(["deploy", "production"]) == 1
    assert len(started.runs) == 1


def test_a_person_at_a_terminal_is_asked_by_the_cdk(
    started: Cdk, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cdk.deploy(account, "sandbox", [], attended=True) == 0
    assert "--require-approval" not in started.runs[0][0]


def test_the_cdk_finds_the_node_of_the_project(account: Any) -> None:
    node, *_ = cdk.command()
    assert Path(node).is_relative_to(Path(sys.prefix))
    path = cdk.environment_of(account)["PATH"]
    assert path.split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_blocking_finding_stops_before_the_question(
    started: Cdk,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    aws.parameters.clear()
    assert command.main(["deploy", "sandbox"]) == 1
    assert started.runs == []
    said = capsys.readouterr().out
    assert "make bootstrap ENVIRONMENT=sandbox" in said
    assert "Not deployed" in said


def test_a_deploy_that_fails_says_where_to_look(
    started: Cdk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    started.status = 1
    assert command.main(["deploy", "sandbox"]) == 1
    said = capsys.readouterr().out
    assert "make preflight ENVIRONMENT=sandbox" in said
    assert '"The first deploy failed" in docs/how-to/runbook.md' in said
    assert "\n## The first deploy failed\n" in (
        cdk.ROOT / "docs" / "how-to" / "runbook.md"
    ).read_text("utf-8")


def test_a_deploy_is_interrupted_and_repeated(
    started: Cdk,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)

    def interrupted(*_: object) -> int:
        aws.add(Stack("cdc-sandbox-pipeline", "CREATE_IN_PROGRESS"))
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr(cdk, "run", interrupted)
        assert command.main(["deploy", "sandbox"]) == 130
    # CloudFormation continues: not now ...
    assert command.main(["deploy", "sandbox"]) == 1
    assert started.runs == []
    # ... but when it is done.
    assert command.main(["deploy", "sandbox"]) == 0
    said = capsys.readouterr().out
    assert "CloudFormation continues" in said
    assert "cdc-sandbox-pipeline is CREATE_IN_PROGRESS: CloudFormation is at work" in said


def test_the_account_asked_about_is_the_one_that_cdk_uses(
    started: Cdk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setenv("CDK_OPTIONS", "--profile other")
    assert command.main(["deploy", "sandbox"]) == 1
    assert started.runs == []
    assert "AWS_PROFILE" in capsys.readouterr().out


def test_a_setting_that_synth_refuses_stops_a_preflight(
    started: Cdk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, sentence in (
        ("-c alarm_emial=a@b.example", "did you mean 'alarm_email'?"),
        ("-c 'alarm_email=a@b.example", "close the quotation"),
    ):
        monkeypatch.setenv("CDK_OPTIONS", options)
        assert command.main(["preflight", "sandbox"]) == 1
        assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ExpiredToken", "Your AWS credentials have expired"),
        ("ExpiredTokenException", "Your AWS credentials have expired"),
        ("InvalidClientTokenId", "enable the Region in the account's settings"),
        ("SignatureDoesNotMatch", "this machine's clock is"),
        ("InternalFailure", "see whether the network is up"),
    ],
)
def test_credentials_that_aws_refuses_are_a_sentence(
    aws: FakeAws, code: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.errors["sts:GetCallerIdentity"] = code
    assert command.main(["preflight", "sandbox"]) == 1
    said = capsys.readouterr().out
    assert sentence in said
    assert "AWS_PROFILE" in said


def test_no_credentials_are_a_sentence_also_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "CDK_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    assert command.main(["preflight", "sandbox"]) == 1
    assert "No AWS credentials: Unable to locate credentials; sign in" in capsys.readouterr().out
    assert command.main(["preflight", "sandbox", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("No AWS credentials")


def test_a_session_of_sso_that_has_expired_says_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-west-1\nsso_session = us\nsso_account_id = 123456789012\n"
        "sso_role_name = Admin\n[sso-session us]\nsso_region = eu-west-1\n"
        "sso_start_url = https://example.awsapps.com/start\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AccountError, match=r"have expired .*`aws sso login`"):
        sign_in()


def test_synth_names_the_environments_that_can_be_deployed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.main(["synth", "prod"])
    said = capsys.readouterr().out
    assert said == (
        "make synth: ENVIRONMENT='prod': choose sandbox or production, or add it to environments "
        "in cdk.json, with a profile.\n"
    )


def test_synth_leaves_out_the_advice_on_feature_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says = "81 feature flags are not configured. Run 'cdk flags'\nother advice\n"
    script = f"import sys; sys.stderr.write({says!r}); sys.exit(3)"
    monkeypatch.setattr(cdk, "command", lambda: [sys.executable, "-c", script])
    assert cdk.synth("sandbox", []) == 3
    assert capsys.readouterr().err == "other advice\n"


def test_a_missing_region_and_credentials_are_named_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command.main(["deploy", "sandbox"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("No AWS Region: set AWS_REGION")
    assert "No AWS credentials either: sign in (`aws sso login`" in said


def test_a_missing_region_and_wrong_words_are_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "CDK_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert command.main(["deploy", "sandbox"]) == 1
    with monkeypatch.context() as mistyped:
        mistyped.setenv("AWS_PROFILE", "nope")
        assert command.main(["deploy", "sandbox"]) == 1
    for words in (["remove", "sandbox"], ["destroy", "local"], ["deploy", 'x"; touch f']):
        with pytest.raises(SystemExit) as ended:
            command.main(words)
        assert ended.value.code == 2
    said = capsys.readouterr().out
    assert "No AWS Region: set AWS_REGION" in said
    assert "No AWS profile: The config profile (nope) could not be found" in said
    assert said.count(": choose sandbox or production, or add it") == 2
