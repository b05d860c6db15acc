"""The context of the CDK's app for the example: a fork has settings of its own in cdk.json."""

from collections.abc import Mapping
from typing import Any

from local.deployed.deployment import QUALIFIER_KEY
from stacks.environments import cdk_json

CONTEXT: Mapping[str, Any] = {
    **{
        name: value
        for name, value in cdk_json().items()
        if name.startswith("@aws-cdk/") and name != QUALIFIER_KEY
    },
    "cli-telemetry": False,
    "environments": {"sandbox": {}, "production": {}, "local": {}},
}
"""The CDK's feature flags of cdk.json, and environments with the defaults of their profiles."""
