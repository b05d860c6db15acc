"""One snapshot per stack, so that a change of the infrastructure shows in review.

`pytest tests/infrastructure --snapshot-update` takes new ones. What differs from build to build is
left out: asset hashes, and the CDK's check of the account's bootstrap.
"""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

if TYPE_CHECKING:
    from tests.infrastructure.templates import Assembly

ASSET_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@pytest.mark.parametrize(
    ("environment", "stack"),
    [
        ("sandbox", "search"),
        ("sandbox", "pipeline"),
        ("production", "search-logs"),
        ("production", "search"),
        ("production", "pipeline"),
    ],
)
def test_template(
    environment: str, stack: str, request: pytest.FixtureRequest, snapshot: SnapshotAssertion
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    template = _normalised(assembly.templates[stack])
    assert template == snapshot(extension_class=JSONSnapshotExtension)


def _normalised(template: dict[str, Any]) -> Any:
    kept = {key: template[key] for key in ("Resources", "Outputs") if key in template}
    for resource in kept["Resources"].values():
        resource.get("Metadata", {}).pop("aws:cdk:path", None)
    return json.loads(ASSET_HASH.sub("<asset>", json.dumps(kept)))
