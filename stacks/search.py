"""The OpenSearch cluster that holds the search index: a domain of our own, or one that exists."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from stacks.environments import Environment, SearchAuth, SearchCluster


@dataclass(frozen=True, kw_only=True)
class SearchTarget:
    """Where the search processor writes; `domain` is absent where nothing is signed."""

    url: str
    auth: SearchAuth
    domain: opensearch.IDomain | None

    def grant_write(self, role: iam.Role, index: str) -> None:
        """Let the role write bulk requests and make the index's generations and aliases."""
        if self.domain is None:
            return
        arn = self.domain.domain_arn
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut"],
            resource_arns=[f"{arn}/_bulk", f"{arn}/{index}-*"],
        )


class SearchStack(Stack):
    """A managed domain that only signed requests reach."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, cluster: SearchCluster
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.keeps_data)
        keep = environment.keeps_data
        self.domain = opensearch.Domain(
            self,
            "Domain",
            version=opensearch.EngineVersion.OPENSEARCH_3_1,
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
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        self.target = SearchTarget(
            url=f"https://{self.domain.domain_endpoint}", auth="iam", domain=self.domain
        )


def existing_cluster(scope: Construct, environment: Environment) -> SearchTarget:
    """The cluster that `search_url` names."""
    url = environment.search_url
    assert url is not None
    domain = None
    if environment.search_auth == "iam":
        domain = opensearch.Domain.from_domain_endpoint(scope, "ExistingDomain", url)
    return SearchTarget(url=url, auth=environment.search_auth, domain=domain)


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
