"""Raising `EngineVersion` replaces the domain unless its update policy enables the upgrade.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html
(`EnableVersionUpgrade`)
https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1862
"""

from tests.infrastructure.templates import Assembly, only


def test_a_raised_version_upgrades_the_domain_in_place(
    sandbox: Assembly, production: Assembly
) -> None:
    for assembly in (sandbox, production):
        domain = only(assembly.search, "AWS::OpenSearchService::Domain")
        assert domain["UpdatePolicy"] == {"EnableVersionUpgrade": True}
