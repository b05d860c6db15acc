"""docs/how-to/deploy.md quotes known failures as they are; settings on pages can be deployed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks.environments import SettingsError, load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text("utf-8")

# Reported by people who met them: github.com/DavidCs9/personal-finance-system/pull/148,
# github.com/hashicorp/terraform-provider-aws/issues/43033 and
# github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1769.
OF_AWS = (
    "The function execution role does not have permissions to call PutObject on S3",
    "The Resource Access Policy specified for the CloudWatch Logs log group",
    "does not grant sufficient permissions",
    "cannot be deleted while TerminationProtection is enabled",
    "ROLLBACK_COMPLETE",
)
OF_THE_CDK = (
    "but terminal (TTY) is not attached so we are unable to get a confirmation from the user",
    "Has the environment been bootstrapped?",
)


@pytest.mark.parametrize("message", [*OF_AWS, *OF_THE_CDK])
def test_the_page_quotes_each_known_failure(message: str) -> None:
    assert message in PAGE


def test_the_pinned_cdk_prints_the_quoted_messages() -> None:
    program = ROOT / "node_modules" / "aws-cdk" / "lib" / "index.js"
    text = program.read_text("utf-8")
    for message in (*OF_THE_CDK, "Environment %s bootstrapped."):
        assert message in text
    assert "Environment aws://123456789012/eu-west-1 bootstrapped." in PAGE


def test_the_app_prints_the_quoted_message() -> None:
    with pytest.raises(SettingsError) as raised:
        load({})
    quoted = "No environment is chosen: pass -c environment=NAME, where NAME is one of "
    assert str(raised.value).startswith(quoted)
    assert quoted in PAGE


def _shown_environments() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the page, the name and the settings of each environment that a page shows."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text("utf-8")
        for found in re.finditer(r'"environments": (?=\{)', text):
            shown, _ = json.JSONDecoder().raw_decode(text, found.end())
            yield from ((page.name, name, settings) for name, settings in shown.items())


@pytest.mark.parametrize(("page", "name", "settings"), [*_shown_environments()])
def test_each_environment_on_a_page_can_be_loaded(
    page: str, name: str, settings: dict[str, Any]
) -> None:
    if name == "local":  # the demo adds it
        settings = {"search_url": "http://127.0.0.1:9250", **settings}
    if name == "production" and not any(each.startswith("alarm") for each in settings):
        settings = {"alarms": "none", **settings}
    load({"environment": name, "environments": {name: settings}}, {})
