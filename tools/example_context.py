"""The context of the CDK's app for the example: a fork has settings of its own in cdk.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.deployed.deployment import QUALIFIER_KEY

ROOT = Path(__file__).parent.parent


def project() -> dict[str, Any]:
    """Return the context of cdk.json."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return context


CONTEXT: Mapping[str, Any] = {
    **{
        name: value
        for name, value in project().items()
        if name.startswith("@aws-cdk/") and name != QUALIFIER_KEY
    },
    "cli-telemetry": False,
    "environments": {"sandbox": {}, "production": {}, "local": {}},
}
"""The CDK's feature flags of cdk.json, and environments with the defaults of their profiles."""
