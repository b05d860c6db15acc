"""The OpenSearch cluster that holds the search index: a domain of our own, or one that exists.

The pipeline knows the domain by three exports. Their names do not change if constructs are moved or
renamed here. Their values change only if the domain is replaced, which no property set here asks
for (docs/decisions/0020-few-exports-with-fixed-names.md).
"""

from dataclasses import dataclass

from aws_cdk import Acknowledgment, Fn, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from stacks.constructs.keys import add_key, key_of
from stacks.constructs.retention import removal
from stacks.environments import Environment
from stacks.search_logs import SearchLogs
from stacks.settings.network import NetworkSettings
from stacks.settings.search import SearchAuth, SearchCluster


@dataclass(frozen=True, kw_only=True)
class SearchTarget:
    """Where the search processor writes.

    Attributes:
        url: of the cluster.
        auth: how requests are authorised.
        region: that requests are signed for; empty where they are not.
        domain_arn: domain that the role may write to; None where requests are not signed.
        domain_name: of the domain that this app made.
    """

    url: str
    auth: SearchAuth
    region: str
    domain_arn: str | None
    domain_name: str | None = None

    def grant_write(self, role: iam.Role, index: str) -> None:
        """Let the role make the index with its aliases, write its documents, and rebuild it.

        A verification reads many documents, and walks over all. A repair reads, replaces or deletes
        one document by its id, which is any item's. A rebuild does the same in the indexes that it
        makes (`v*`: the index, its own alias and what is below), and deletes them: what is below an
        alias of such an index is no more than that. Which aliases it moves is in the body of the
        request, which IAM does not see: `_aliases` belongs to the whole domain
        (https://docs.aws.amazon.com/opensearch-service/latest/developerguide/ac.html).
        """
        if (arn := self.domain_arn) is None:
            return
        every = ["es:ESHttpGet", "es:ESHttpPut", "es:ESHttpDelete", "es:ESHttpPost"]
        for actions, resources in (
            (every, [f"{arn}/{index}-write/*", f"{arn}/{index}-v*"]),
            (["es:ESHttpGet"], [f"{arn}/{index}-second/*"]),
            (["es:ESHttpPost"], [f"{arn}/_aliases"]),
        ):
            iam.Grant.add_to_principal(grantee=role, actions=actions, resource_arns=resources)

    def grant_erase(self, role: iam.Role, index: str) -> None:
        """Let the role read and delete the document of any item, in every index of a rebuild.

        What is below an index is its documents, its mapping and its aliases.
        """
        if (arn := self.domain_arn) is None:
            return
        live, second, numbered = (f"{arn}/{index}-{end}" for end in ("write", "second", "v*"))
        for action, resources in (
            ("es:ESHttpGet", [f"{live}/*", f"{second}/*", f"{numbered}/*"]),
            ("es:ESHttpPost", [f"{live}/_mget", f"{numbered}/_mget"]),
            ("es:ESHttpDelete", [f"{live}/_doc/*", f"{numbered}/_doc/*"]),
        ):
            iam.Grant.add_to_principal(grantee=role, actions=[action], resource_arns=resources)


class SearchStack(Stack):
    """A managed domain that answers signed requests only, from this account only.

    `logs` says where the domain publishes its logs; without it, it publishes none.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: SearchCluster,
        logs: SearchLogs | None,
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.protection)
        add_key(self, environment)
        self.domain = opensearch.Domain(
            self,
            "Domain",
            version=opensearch.EngineVersion.OPENSEARCH_3_5,
            # Without it, a raised version replaces the domain instead of upgrading it in place.
            enable_version_upgrade=True,
            capacity=_capacity(cluster),
            zone_awareness=_zones(cluster),
            ebs=opensearch.EbsOptions(
                volume_size=cluster.volume_gib, volume_type=ec2.EbsDeviceVolumeType.GP3
            ),
            encryption_at_rest=opensearch.EncryptionAtRestOptions(
                enabled=True, kms_key=key_of(self)
            ),
            node_to_node_encryption=True,
            enforce_https=True,
            tls_security_policy=opensearch.TLSSecurityPolicy.TLS_1_2_PFS,
            enable_auto_software_update=True,
            logging=logs.publishing(self) if logs else None,
            # A bulk request may otherwise name another index in its body, past what IAM sees.
            advanced_options={"rest.action.multi.allow_explicit_index": "false"},
            suppress_logs_resource_policy=True,
            removal_policy=removal(keep=environment.keeps_data),
        )
        reason = "The CDK's list of instance types is as old as the CDK: preflight asks AWS."
        Validations.of(self.domain).acknowledge(
            Acknowledgment(id="CloudFormation-Validate::E3653", reason=reason)
        )
        self._refuse_the_unsigned()
        self._enter_the_vpc(environment, cluster)
        self.target = SearchTarget(
            url=f"https://{self._exported('DomainEndpoint', self.domain.domain_endpoint)}",
            auth="iam",
            region=self.region,
            domain_arn=self._exported("DomainArn", self.domain.domain_arn),
            domain_name=self._exported("DomainName", self.domain.domain_name),
        )

    def _exported(self, what: str, value: str) -> str:
        """Export a value under a name of our own; return what another stack imports it by."""
        name = f"{self.stack_name}-{what}"
        self.export_value(value, name=name)
        return Fn.import_value(name)

    @property
    def _resource(self) -> opensearch.CfnDomain:
        resource = self.domain.node.default_child
        assert isinstance(resource, opensearch.CfnDomain)
        return resource

    def _enter_the_vpc(self, network: NetworkSettings, cluster: SearchCluster) -> None:
        """Give the domain an address in a subnet of each zone, and no public endpoint."""
        if network.vpc_id is not None:
            # The construct's `vpc` would have to know the zones of the subnets, which it looks up.
            self._resource.vpc_options = opensearch.CfnDomain.VPCOptionsProperty(
                subnet_ids=list(network.subnet_ids[: cluster.zones]),
                security_group_ids=list(network.security_group_ids),
            )

    def _refuse_the_unsigned(self) -> None:
        """Leave it to the roles of this account, each by its own policy, who reaches the domain."""
        # `access_policies` of the construct adds a custom resource for this one property.
        any_domain = self.format_arn(service="es", resource="domain", resource_name="*")
        self._resource.access_policies = iam.PolicyDocument(
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
    named = environment.managed_domain
    domain_arn = None
    if named is not None:
        domain_arn = named.arn or Stack.of(scope).format_arn(
            service="es", region=named.region, resource="domain", resource_name=named.name
        )
    return SearchTarget(
        url=url,
        auth=environment.search_auth,
        region=named.region if named else "",
        domain_arn=domain_arn,
    )


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
