"""A domain that is created right after the policy of its log groups fails, again and again.

"The Resource Access Policy specified for the CloudWatch Logs log group ... does not grant
sufficient permissions for Amazon OpenSearch Service to create a log stream."
https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1769
https://github.com/hashicorp/terraform-provider-aws/issues/43033
"""

import json

from tests.infrastructure.templates import Assembly, flat, of_type, only

DOMAIN = "AWS::OpenSearchService::Domain"
POLICY = "AWS::Logs::ResourcePolicy"


def test_a_sandbox_publishes_no_logs_and_needs_no_policy(sandbox: Assembly) -> None:
    assert not only(sandbox.search, DOMAIN)["Properties"].get("LogPublishingOptions")
    for template in sandbox.templates.values():
        assert POLICY not in {resource["Type"] for resource in template["Resources"].values()}


def test_production_has_the_policy_in_a_stack_of_its_own(production: Assembly) -> None:
    logs = production.templates["search-logs"]
    assert set(map(lambda r: r["Type"], logs["Resources"].values())) == {
        POLICY,
        "AWS::Logs::LogGroup",
    }
    document = json.loads(flat(only(logs, POLICY)["Properties"]["PolicyDocument"]))
    (statement,) = document["Statement"]
    assert statement["Principal"] == {"Service": "es.amazonaws.com"}
    assert POLICY not in {resource["Type"] for resource in production.search["Resources"].values()}


def test_that_stack_is_deployed_before_the_domain_s(production: Assembly) -> None:
    manifest = json.loads((production.folder / "manifest.json").read_text())
    dependencies = manifest["artifacts"]["cdc-production-search"]["dependencies"]
    assert "cdc-production-search-logs" in dependencies


def test_the_policy_names_the_log_groups_of_the_domain(production: Assembly) -> None:
    logs = production.templates["search-logs"]
    options = only(production.search, DOMAIN)["Properties"]["LogPublishingOptions"]
    exported = {output["Export"]["Name"] for output in logs["Outputs"].values()}
    used = [flat(each["CloudWatchLogsLogGroupArn"]) for each in options.values()]
    assert len(used) == len(exported) == len(of_type(logs, "AWS::Logs::LogGroup"))
    assert all(any(name in arn for name in exported) for arn in used)


def test_the_index_has_thresholds_for_slow_requests() -> None:
    """Without thresholds the groups of slow requests stay empty for ever.

    https://docs.aws.amazon.com/opensearch-service/latest/developerguide/createdomain-configure-slow-logs.html
    """
    from lambdas.example_domain.order import INDEX

    thresholds = {name for name in INDEX.settings["index"] if "slowlog.threshold" in name}
    assert {name.partition(".")[0] for name in thresholds} == {"search", "indexing"}
