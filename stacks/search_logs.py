"""Where a search domain publishes its logs, deployed before the domain is.

A resource policy of CloudWatch Logs is not visible at once: a domain that is created right after
it fails with "The Resource Access Policy specified for the CloudWatch Logs log group ... does not
grant sufficient permissions", and the rollback of a stack that holds both deletes the policy, so
that every new try races again. In a stack of its own the policy outlives a domain that failed.
https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1769
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/createdomain-configure-slow-logs.html
"""

from aws_cdk import Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from stacks.constructs.keys import add_key, key_of
from stacks.constructs.retention import RETENTION, removal
from stacks.environments import Environment

GROUPS = ("SlowSearches", "SlowIndexing", "Errors")


class SearchLogs(Stack):
    """The log groups of a domain, and the policy that lets it write to them.

    Slow requests are logged from the thresholds on that the settings of the index name, as those of
    lambdas/example_domain/values.py do.
    """

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id, termination_protection=environment.protection)
        add_key(self, environment)
        groups = [
            logs.LogGroup(
                self,
                name,
                retention=RETENTION[environment.log_retention_days],
                encryption_key=key_of(self),
                removal_policy=removal(keep=environment.keeps_data),
            )
            for name in GROUPS
        ]
        self._let_the_domain_log(groups)
        for name, group in zip(GROUPS, groups, strict=True):
            self.export_value(group.log_group_name, name=self._export(name))

    def publishing(self, domain_stack: Stack) -> opensearch.LoggingOptions:
        """Return what tells a domain in a later stack to publish here."""
        domain_stack.add_stack_dependency(self)
        searches, indexing, errors = (
            logs.LogGroup.from_log_group_name(
                domain_stack, name, Fn.import_value(self._export(name))
            )
            for name in GROUPS
        )
        return opensearch.LoggingOptions(
            slow_search_log_enabled=True,
            slow_search_log_group=searches,
            slow_index_log_enabled=True,
            slow_index_log_group=indexing,
            app_log_enabled=True,
            app_log_group=errors,
        )

    def _export(self, group: str) -> str:
        return f"{self.stack_name}-{group}"

    def _let_the_domain_log(self, groups: list[logs.LogGroup]) -> None:
        """Grant all groups in one policy: an account has ten in a Region."""
        logs.ResourcePolicy(
            self,
            "LogAccess",
            policy_statements=[
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("es.amazonaws.com")],
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[group.log_group_arn for group in groups],
                    conditions={"StringEquals": {"aws:SourceAccount": self.account}},
                )
            ],
        )
