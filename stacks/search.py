"""The OpenSearch cluster that holds the search index: a domain of our own, or one that exists."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from stacks.constructs.retention import RETENTION
from stacks.environments import Environment, SearchAuth, SearchCluster


@dataclass(frozen=True, kw_only=True)
class SearchTarget:
    """Where the search processor writes; `domain_arn` is absent where requests are not signed."""

    url: str
    auth: SearchAuth
    domain_arn: str | None

    def grant_write(self, role: iam.Role, index: str) -> None:
        """Let the role make the index with its aliases, write through the write alias, and repair.

        A repair reads and replaces one document by its id, which is any item's.
        """
        if (arn := self.domain_arn) is None:
            return
        documents = f"{arn}/{index}-write/_doc/*"
        for actions, resource in (
            (["es:ESHttpPut"], f"{arn}/{index}-v1"),
            (["es:ESHttpPost"], f"{arn}/{index}-write/_bulk"),
            (["es:ESHttpGet", "es:ESHttpPut"], documents),
        ):
            iam.Grant.add_to_principal(grantee=role, actions=actions, resource_arns=[resource])


class SearchStack(Stack):
    """A managed domain that answers signed requests only, from this account only."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, cluster: SearchCluster
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.keeps_data)
        self.removal = RemovalPolicy.RETAIN if environment.keeps_data else RemovalPolicy.DESTROY
        self.retention = RETENTION[environment.log_retention_days]
        self.domain = opensearch.Domain(
            self,
            "Domain",
            version=opensearch.EngineVersion.OPENSEARCH_3_5,
            capacity=_capacity(cluster),
            zone_awareness=_zones(cluster),
            ebs=opensearch.EbsOptions(
                volume_size=cluster.volume_gib, volume_type=ec2.EbsDeviceVolumeType.GP3
            ),
            encryption_at_rest=opensearch.EncryptionAtRestOptions(enabled=True),
            node_to_node_encryption=True,
            enforce_https=True,
            tls_security_policy=opensearch.TLSSecurityPolicy.TLS_1_2_PFS,
            enable_auto_software_update=True,
            logging=self._logging(),
            # A bulk request may otherwise name another index in its body, past what IAM sees.
            advanced_options={"rest.action.multi.allow_explicit_index": "false"},
            suppress_logs_resource_policy=True,
            removal_policy=self.removal,
        )
        self._refuse_the_unsigned()
        self.target = SearchTarget(
            url=f"https://{self.domain.domain_endpoint}",
            auth="iam",
            # The import that the pipeline would get anyhow, under a name known before synth.
            domain_arn=self.export_value(self.domain.domain_arn),
        )

    def _logging(self) -> opensearch.LoggingOptions:
        # The domain's own policy for its logs is a custom resource: grants make a plain one.
        groups = [
            logs.LogGroup(self, id, retention=self.retention, removal_policy=self.removal)
            for id in ("SlowSearches", "SlowIndexing", "Errors")
        ]
        self.log_access = self._let_the_domain_log(groups)
        return opensearch.LoggingOptions(
            slow_search_log_enabled=True,
            slow_search_log_group=groups[0],
            slow_index_log_enabled=True,
            slow_index_log_group=groups[1],
            app_log_enabled=True,
            app_log_group=groups[2],
        )

    def _let_the_domain_log(self, groups: list[logs.LogGroup]) -> logs.ResourcePolicy:
        """Grant all groups in one policy: an account has ten in a Region."""
        return logs.ResourcePolicy(
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

    def _refuse_the_unsigned(self) -> None:
        """Leave it to the roles of this account, each by its own policy, who reaches the domain."""
        # `access_policies` of the construct adds a custom resource for this one property.
        resource = self.domain.node.default_child
        assert isinstance(resource, opensearch.CfnDomain)
        resource.node.add_dependency(self.log_access)
        any_domain = self.format_arn(service="es", resource="domain", resource_name="*")
        resource.access_policies = iam.PolicyDocument(
            statements=[
                iam.PolicyStatement(
                    principals=[iam.AccountRootPrincipal()],
                    actions=["es:ESHttp*"],
                    resources=[any_domain],
                )
            ]
        )


def existing_cluster(scope: Construct, environment: Environment) -> SearchTarget:
    """The cluster that `search_url` names."""
    url = environment.search_url
    assert url is not None
    domain_arn = None
    if environment.search_auth == "iam" and (named := environment.managed_domain):
        domain_arn = Stack.of(scope).format_arn(
            service="es", region=named["region"], resource="domain", resource_name=named["name"]
        )
    return SearchTarget(url=url, auth=environment.search_auth, domain_arn=domain_arn)


def _capacity(cluster: SearchCluster) -> opensearch.CapacityConfig:
    return opensearch.CapacityConfig(
        data_nodes=cluster.nodes,
        data_node_instance_type=cluster.instance_type,
        master_nodes=cluster.masters or None,
        master_node_instance_type=cluster.master_instance_type,
        multi_az_with_standby_enabled=False,
    )


def _zones(cluster: SearchCluster) -> opensearch.ZoneAwarenessConfig:
    if cluster.zones == 1:
        return opensearch.ZoneAwarenessConfig(enabled=False)
    return opensearch.ZoneAwarenessConfig(enabled=True, availability_zone_count=cluster.zones)
