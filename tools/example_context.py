"""The context of the CDK's app for the example: a fork has settings of its own in cdk.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.deployed.deployment import QUALIFIER_KEY

ROOT = Path(__file__).parent.parent


def _feature_flags() -> dict[str, Any]:
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return {
        name: value
        for name, value in context.items()
        if name.startswith("@aws-cdk/") and name != QUALIFIER_KEY
    }


CONTEXT: Mapping[str, Any] = {
    **_feature_flags(),
    "environments": {"sandbox": {}, "production": {}, "local": {}},
}
"""The CDK's feature flags of cdk.json, and environments with the defaults of their profiles."""
