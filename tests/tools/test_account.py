"""The questions that the make targets for an AWS account ask, and the commands that they start."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from stacks import environments
from tests.lambdas.conftest import without_documents
from tests.tools.conftest import Cdk, Make
from tests.tools.fake_aws import ACCOUNT, REGION, FakeAws, Stack
from tools.account import cdk, deploy, e2e, settings
from tools.account.identity import Account, AccountError, sign_in
from tools.example_context import CONTEXT

ALARMS = "-c alarms=none"
FROM_FILE = settings.cdk_json  # every test replaces it


@pytest.fixture
def offered(aws: FakeAws) -> FakeAws:
    """A Region that offers the domain of production."""
    aws.instance_types += ["r7g.large.search", "m7g.medium.search"]
    return aws


def test_nothing_goes_on_unless_the_account_is_named(started: Cdk, make: Make) -> None:
    status, said = make("deploy", "sandbox", confirm="")
    assert (status, started.runs) == (1, [])
    assert f"repeat with CONFIRM={ACCOUNT}" in said
    status, said = make("deploy", "sandbox", confirm="999999999999")
    assert (status, started.runs) == (1, [])
    assert f"the account is {ACCOUNT}, not 999999999999" in said
    status, said = make("deploy", "sandbox")
    assert (status, len(started.runs)) == (0, 1)
    assert f"AWS account {ACCOUNT}, Region {REGION}" in said


def test_a_first_deploy_is_protected_only_once_it_is_there(
    started: Cdk, offered: FakeAws, make: Make
) -> None:
    """CloudFormation cannot remove protected resources after a failed first deploy."""
    names = [f"cdc-production-{part}" for part in ("search-logs", "search", "pipeline")]
    offered.add(Stack(names[2], "ROLLBACK_COMPLETE"))
    assert make("deploy", "production", options=ALARMS)[0] == 0
    first, second = started.commands
    assert first[:5] == ["deploy", *names, "--exclusively"]
    assert first[-4:] == ["-c", "alarms=none", "--context", "protection=false"]
    assert second[:2] == ["deploy", "--all"]
    assert second[-2:] == ["-c", "alarms=none"]


def test_a_new_stack_is_protected_in_the_second_pass(
    started: Cdk, offered: FakeAws, make: Make
) -> None:
    offered.add(Stack("cdc-production-pipeline", "UPDATE_ROLLBACK_COMPLETE"))
    offered.add(Stack("cdc-production-search"))
    assert make("deploy", "production", options=ALARMS)[0] == 0
    first, second = started.commands
    assert first[:3] == ["deploy", "cdc-production-search-logs", "--exclusively"]
    assert "protection=false" not in second

    started.runs.clear()
    offered.add(Stack("cdc-production-search-logs"))
    assert make("deploy", "production", options=ALARMS)[0] == 0
    [only] = started.commands
    assert "protection=false" not in only


def test_without_documents_no_search_stack_is_deployed(
    started: Cdk, aws: FakeAws, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "TABLES", without_documents())
    assert make("deploy", "production", options=ALARMS)[0] == 0
    assert started.commands[0][:3] == ["deploy", "cdc-production-pipeline", "--exclusively"]
    started.runs.clear()
    aws.add(Stack("cdc-production-pipeline"))
    assert make("deploy", "production", options=ALARMS)[0] == 0
    [again] = started.commands
    assert again[:2] == ["deploy", "--all"]


def test_too_few_subnets_stop_a_deploy_in_one_sentence(started: Cdk, make: Make) -> None:
    network = "-c vpc_id=vpc-0123456789abcdef0 -c security_group_ids=sg-0123456789abcdef0"
    subnets = " -c subnet_ids=subnet-0123456789abcdef0"
    status, said = make("deploy", "production", options=f"{ALARMS} {network}{subnets}")
    assert (status, started.runs) == (1, [])
    assert said == (
        "Setting 'subnet_ids' has 1 for a domain in 3 zones ('search_zones'): give a subnet of "
        "each zone.\n"
    )


def test_a_first_pass_that_fails_is_not_followed_by_a_second(
    started: Cdk, offered: FakeAws, make: Make
) -> None:
    started.status = 1
    assert make("deploy", "production", options=ALARMS)[0] == 1
    assert len(started.runs) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        # The CDK takes the last context, which may not be the confirmed environment.
        ("-c environment=production", "CDK_OPTIONS chooses an environment: set ENVIRONMENT="),
        # The account asked about is the one that the CDK uses.
        ("--profile other", "AWS_PROFILE"),
        ("batch_size=5", "did you mean -c batch_size=5?"),
        ("--quiet batch_size.audit=5", "did you mean -c batch_size.audit=5?"),
        ("-c a=1 batch_size=5", "did you mean -c batch_size=5?"),
        ("-c.batch_size=0", "did you mean -c batch_size=0?"),
        ("--context.batch_size=0", "did you mean -c batch_size=0?"),
        # The CDK warns, and deploys without the setting.
        ("-c alarm_email -c a=1", "-c 'alarm_email', which sets nothing: write -c NAME=VALUE"),
        ("--context", "-c '', which sets nothing: write -c NAME=VALUE"),
    ],
)
def test_options_that_the_cdk_would_take_otherwise_are_refused(
    started: Cdk, make: Make, options: str, sentence: str
) -> None:
    status, said = make("deploy", "sandbox", options=options)
    assert (status, started.runs) == (1, [])
    assert sentence in said


@pytest.mark.parametrize(
    "options",
    [
        *("-c batch_size=5", "--context=a=b", "-t team=a", "--output=x", "--profile a"),
        *("--profile sso=dev", "--app 'PYTHONPATH=. python app.py'"),
    ],
)
def test_options_of_the_cdk_are_no_settings(options: str) -> None:
    assert settings.words(options) == shlex.split(options)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cdk.json cannot be read: "),
        ('{"context": {"environments": {}},}', "cdk.json cannot be read: "),
        ("{}", 'cdk.json has no object "context"'),
        ("[]", 'cdk.json has no object "context"'),
    ],
)
def test_a_cdk_json_that_cannot_be_read_is_named(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str | None,
    sentence: str,
) -> None:
    monkeypatch.setattr(settings, "cdk_json", FROM_FILE)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    if content is not None:
        (tmp_path / "cdk.json").write_text(content)
    status, said = make("synth", "sandbox")
    assert status == 1
    assert sentence in said
    assert e2e.main(["sandbox"]) == 1
    assert sentence in capsys.readouterr().out


@pytest.mark.parametrize("own", [None, 5])
def test_environments_of_another_form_are_left_to_the_app(
    monkeypatch: pytest.MonkeyPatch, own: object
) -> None:
    monkeypatch.setattr(settings, "cdk_json", lambda: {"environments": own})
    assert settings.deployable() == ["sandbox", "production"]


def test_a_person_at_a_terminal_is_asked_by_the_cdk(started: Cdk, account: Account) -> None:
    assert cdk.deploy(account, "sandbox", [], attended=True) == 0
    assert "--require-approval" not in started.commands[0]


def test_the_cdk_finds_the_node_of_the_project(account: Account) -> None:
    node, *_ = cdk.command()
    assert Path(node).is_relative_to(Path(sys.prefix))
    path = cdk.environment_of(account)["PATH"]
    assert path.split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_blocking_finding_stops_before_the_question(
    started: Cdk, aws: FakeAws, make: Make
) -> None:
    aws.parameters.clear()
    status, said = make("deploy", "sandbox")
    assert (status, started.runs) == (1, [])
    assert "make bootstrap ENVIRONMENT=sandbox" in said
    assert "Not deployed" in said


class TestQualifier:
    """An organisation may bootstrap its accounts with a qualifier of its own."""

    OPTIONS = "-c @aws-cdk/core:bootstrapQualifier=ours"

    def test_preflight_asks_for_its_version(self, started: Cdk, aws: FakeAws, make: Make) -> None:
        status, said = make("preflight", "sandbox", options=self.OPTIONS)
        assert status == 1
        assert f"account {ACCOUNT}, Region {REGION}, qualifier ours: run `make bootstrap" in said
        assert f'ENVIRONMENT=sandbox CDK_OPTIONS="{self.OPTIONS}"` once.' in said
        aws.parameters = {"/cdk-bootstrap/ours/version": "30"}
        assert make("preflight", "sandbox", options=self.OPTIONS)[0] == 0
        assert make("preflight", "sandbox")[0] == 1

    def test_that_of_cdk_json_counts(
        self, aws: FakeAws, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = {**CONTEXT, "@aws-cdk/core:bootstrapQualifier": "ours"}
        monkeypatch.setattr(settings, "cdk_json", lambda: context)
        aws.parameters = {"/cdk-bootstrap/ours/version": "30"}
        assert make("preflight", "sandbox")[0] == 0

    def test_bootstrap_leaves_the_stack_of_other_apps(self, started: Cdk, make: Make) -> None:
        status, said = make("bootstrap", "sandbox", options=self.OPTIONS)
        assert status == 0
        assert "the stack CDKToolkit-ours: a bucket" in said
        named = ["--qualifier", "ours", "--toolkit-stack-name"]
        where = f"aws://{ACCOUNT}/{REGION}"
        assert started.commands == [
            ["bootstrap", where, *named, "CDKToolkit-ours", *self.OPTIONS.split()]
        ]
        started.runs.clear()
        make("bootstrap", "sandbox", options=f"{self.OPTIONS} --toolkit-stack-name=Mine")
        assert started.commands[0][2:5] == ["--qualifier", "ours", "-c"]
        started.runs.clear()
        make("bootstrap", "sandbox")
        assert started.commands == [["bootstrap", where]]


def test_a_deploy_that_fails_says_where_to_look(started: Cdk, make: Make) -> None:
    started.status = 1
    status, said = make("deploy", "sandbox")
    assert status == 1
    assert "make preflight ENVIRONMENT=sandbox" in said
    assert '"The first deploy failed" in docs/how-to/runbook.md' in said
    runbook = (cdk.ROOT / "docs" / "how-to" / "runbook.md").read_text("utf-8")
    assert "\n## The first deploy failed\n" in runbook


def test_a_deploy_is_interrupted_and_repeated(
    started: Cdk, aws: FakeAws, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        aws.add(Stack("cdc-sandbox-pipeline", "CREATE_IN_PROGRESS"))
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr(cdk, "run", interrupted)
        status, said = make("deploy", "sandbox")
    assert status == 130
    assert "CloudFormation continues" in said
    # Not now ...
    status, said = make("deploy", "sandbox")
    assert (status, started.runs) == (1, [])
    assert "cdc-sandbox-pipeline is CREATE_IN_PROGRESS: CloudFormation is at work" in said
    # ... but when it is done.
    assert make("deploy", "sandbox")[0] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("-c alarm_emial=a@b.example", "did you mean 'alarm_email'?"),
        ("-c 'alarm_email=a@b.example", "close the quotation"),
    ],
)
def test_a_setting_that_synth_refuses_stops_a_preflight(
    started: Cdk, make: Make, options: str, sentence: str
) -> None:
    status, said = make("preflight", "sandbox", options=options)
    assert status == 1
    assert sentence in said


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
    aws: FakeAws, make: Make, code: str, sentence: str
) -> None:
    aws.errors["sts:GetCallerIdentity"] = code
    status, said = make("preflight", "sandbox")
    assert status == 1
    assert sentence in said
    assert "AWS_PROFILE" in said


@pytest.mark.usefixtures("signed_out")
def test_no_credentials_are_a_sentence_also_as_json(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    status, said = make("preflight", "sandbox")
    assert status == 1
    assert "No AWS credentials: Unable to locate credentials; sign in" in said
    status, said = make("preflight", "sandbox", "--json")
    assert status == 1
    assert json.loads(said)["error"].startswith("No AWS credentials")


@pytest.mark.usefixtures("signed_out")
def test_a_session_of_sso_that_has_expired_says_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-west-1\nsso_session = us\nsso_account_id = 123456789012\n"
        "sso_role_name = Admin\n[sso-session us]\nsso_region = eu-west-1\n"
        "sso_start_url = https://example.awsapps.com/start\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(AccountError, match=r"have expired .*`aws sso login`"):
        sign_in()


def test_synth_names_the_environments_that_can_be_deployed(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        make("synth", "prod")
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


@pytest.mark.usefixtures("signed_out")
def test_a_missing_region_and_credentials_are_named_together(make: Make) -> None:
    status, said = make("deploy", "sandbox")
    assert status == 1
    assert said.startswith("No AWS Region: set AWS_REGION")
    assert "No AWS credentials either: sign in (`aws sso login`" in said


def test_a_missing_region_and_profile_are_sentences(
    aws: FakeAws, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    no_region = "No AWS Region: set AWS_REGION, or one for your profile.\n"
    assert make("deploy", "sandbox") == (1, no_region)
    monkeypatch.setenv("AWS_PROFILE", "nope")
    status, said = make("deploy", "sandbox")
    assert status == 1
    assert "No AWS profile: The config profile (nope) could not be found" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["remove", "sandbox"], "invalid choice: 'remove'"),
        (["destroy", "local"], ": choose sandbox or production, or add it"),
        (["deploy", 'x"; touch f'], ": choose sandbox or production, or add it"),
    ],
)
def test_wrong_words_are_sentences(
    make: Make, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        make(*words)
    assert ended.value.code == 2
    assert sentence in "".join(capsys.readouterr())
