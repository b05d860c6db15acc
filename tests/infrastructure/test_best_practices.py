"""What cdk-nag and cfn-lint have to say."""

import subprocess
import sys
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sqs as sqs

from stacks.acknowledgments import check_best_practices
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import Assembly


@pytest.mark.parametrize(
    "settings",
    [
        {"environment": "sandbox"},
        {"environment": "production", "alarm_email": "on-call@example.com"},
        {"environment": "local", "search_url": "http://127.0.0.1:9250"},
    ],
    ids=lambda settings: settings["environment"],
)
def test_nag_finds_nothing(synthesise: Synthesise, settings: dict[str, str]) -> None:
    """Synth raises on the first finding that nobody accepted."""
    synthesise(nag=True, **settings)


def test_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path))
    sqs.Queue(Stack(app, "Stack"), "Queue")
    check_best_practices(app)
    with pytest.raises(RuntimeError, match="AwsSolutions-SQS4"):
        app.synth()


def test_cloudformation_will_take_the_templates(
    sandbox: Assembly, production: Assembly, local: Assembly
) -> None:
    templates = [
        str(path)
        for assembly in (sandbox, production, local)
        for path in sorted(assembly.folder.glob("*.template.json"))
    ]
    # The script beside this interpreter: the package cannot be run with -m.
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    command = [cfn_lint, "--non-zero-exit-code", "error", "--ignore-checks", "W"]
    lint = subprocess.run(
        [*command, "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr
