"""Judges a VPC before a deploy: pure functions from EC2's responses to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.account.checks import NOTIFICATIONS
from tools.account.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tools.account.checks import Wanted

CHECK = "network"
SERVICES = ("dynamodb", "s3")
"""The services that all functions together call; a gateway endpoint serves each."""
INTERFACES = {NOTIFICATIONS: "sns"}
"""The services that further sinks call, by interface endpoints:
https://docs.aws.amazon.com/sns/latest/dg/sns-vpc-create-endpoint.html"""
LINKED_ROLES = (
    "AWSServiceRoleForAmazonOpenSearchService",
    # Of an account that used the service before it had this name.
    "AWSServiceRoleForAmazonElasticsearchService",
)
"""One of them lets OpenSearch Service make network interfaces:
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/slr-aos.html"""


def _blocking(sentence: str) -> Finding:
    return Finding(CHECK, "blocking", sentence)


def members(kind: str, ids: Sequence[str], found: Mapping[str, str], vpc: str) -> list[Finding]:
    """Whether subnets or groups are in the VPC; `found` has the VPC of each that exists."""
    findings = []
    for each in ids:
        if each not in found:
            findings.append(_blocking(f"There is no {each}: correct {kind}."))
        elif found[each] != vpc:
            findings.append(
                _blocking(f"{each} is in {found[each]}, not in {vpc} (vpc_id): correct {kind}.")
            )
    return findings


def zones(found: Mapping[str, str], wanted: Wanted) -> list[Finding]:
    """Whether the domain's subnets are in different zones; `found` has the zone of each."""
    if not wanted.instance_types:
        return []
    subnets = wanted.network.subnet_ids[: wanted.zones]
    if len({found[each] for each in subnets}) == len(subnets):
        return []
    shown = ", ".join(f"{each} in {found[each]}" for each in subnets)
    return [
        _blocking(
            f"The domain takes the first {wanted.zones} of subnet_ids, one in each zone, and they "
            f"are {shown}: put subnets of different zones first."
        )
    ]


def linked_role(exists: bool, wanted: Wanted) -> list[Finding]:
    """Whether OpenSearch Service may put a domain into a VPC of the account."""
    if exists or not wanted.instance_types:
        return []
    return [
        _blocking(
            "The account has no service-linked role for OpenSearch Service, which a domain in a "
            "VPC needs: `aws iam create-service-linked-role --aws-service-name "
            "opensearchservice.amazonaws.com`."
        )
    ]


def routes(
    tables: Sequence[Mapping[str, Any]], endpoints: Sequence[Mapping[str, Any]], wanted: Wanted
) -> list[Finding]:
    """Whether the subnets reach DynamoDB, S3, the services of further sinks, and a public domain.

    `tables` and `endpoints` are the VPC's, as DescribeRouteTables and DescribeVpcEndpoints give
    them. A route to other places counts, because nothing here can tell where it ends.
    """
    asked = wanted.network.route_table_ids
    # The deploy removes those of the app from a table that is not named.
    stay = [each for each in endpoints if not _is_ours(each, wanted)]
    findings = [
        *_taken(asked, endpoints, wanted),
        *_interfaces(tables, endpoints, wanted),
        *_to_domain(tables, wanted),
    ]
    for subnet in wanted.network.subnet_ids:
        table = _table_of(subnet, tables)
        if table is None or _leads_out(table) or table["RouteTableId"] in asked:
            continue
        missing = [
            service
            for service in SERVICES
            if not any(_serves(each, service, table["RouteTableId"]) for each in stay)
        ]
        if missing:
            advice = "name it in route_table_ids, and the app adds both endpoints."
            if any(table["RouteTableId"] in each.get("RouteTableIds", ()) for each in stay):
                advice = f"add a gateway endpoint for {missing[0]}, as the app adds both or none."
            findings.append(
                _blocking(
                    f"{subnet} reaches no {' and no '.join(missing)}: its route table "
                    f"{table['RouteTableId']} has neither a default route nor a gateway endpoint "
                    f"of your own for {' and '.join(missing)}; {advice}"
                )
            )
    return findings


def _interfaces(
    tables: Sequence[Mapping[str, Any]], endpoints: Sequence[Mapping[str, Any]], wanted: Wanted
) -> Iterator[Finding]:
    for sink in wanted.further_sinks:
        service = INTERFACES.get(sink)
        if service is None or any(_is_interface(each, service) for each in endpoints):
            continue
        for subnet in wanted.network.subnet_ids:
            table = _table_of(subnet, tables)
            if table is not None and not _leads_out(table):
                yield _blocking(
                    f"{subnet} reaches no {service}, which the sink {sink} calls: its route table "
                    f"{table['RouteTableId']} has no default route, and the VPC no interface "
                    f"endpoint for {service} with private DNS; add the endpoint, with a security "
                    "group that lets the functions in by HTTPS."
                )


def _to_domain(tables: Sequence[Mapping[str, Any]], wanted: Wanted) -> Iterator[Finding]:
    """Whether the subnets reach an existing domain that is in no VPC.

    A function in a VPC has no public address, and reaches one by a NAT alone
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc-internet.html).
    """
    if wanted.domain is None or not wanted.domain_is_public:
        return
    for subnet in wanted.network.subnet_ids:
        table = _table_of(subnet, tables)
        if table is not None and not _leads_out(table):
            sentence = (
                f"{subnet} does not reach the domain {wanted.domain[0]}, whose endpoint is public: "
                f"its route table {table['RouteTableId']} has no default route; add one to a NAT, "
                f"or name a domain in {wanted.network.vpc_id} as search_url."
            )
            yield Finding(CHECK, "warning", sentence)


def _is_interface(endpoint: Mapping[str, Any], service: str) -> bool:
    return (
        endpoint["ServiceName"].endswith(f".{service}")
        and endpoint.get("VpcEndpointType") == "Interface"
        and _has_the_service_s_name(endpoint)
    )


def _has_the_service_s_name(endpoint: Mapping[str, Any]) -> bool:
    """Return whether the service's own name, which the functions ask for, leads to an interface.

    That of DynamoDB never does, and that of S3 only if it is not for inbound resolvers alone:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/privatelink-interface-endpoints.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html
    """
    for_resolvers = endpoint.get("DnsOptions", {}).get("PrivateDnsOnlyForInboundResolverEndpoint")
    return bool(endpoint.get("PrivateDnsEnabled")) and not for_resolvers


def _taken(
    asked: Sequence[str], endpoints: Sequence[Mapping[str, Any]], wanted: Wanted
) -> Iterator[Finding]:
    for table in asked:
        for endpoint in endpoints:
            if table in endpoint.get("RouteTableIds", ()) and not _is_ours(endpoint, wanted):
                yield _blocking(
                    f"{table} has the gateway endpoint {endpoint['VpcEndpointId']} for "
                    f"{endpoint['ServiceName']} already, and takes no second one: leave it out of "
                    "route_table_ids."
                )


def _is_ours(endpoint: Mapping[str, Any], wanted: Wanted) -> bool:
    """Return whether an endpoint is a gateway that the environment has made."""
    tags = {tag["Key"]: tag["Value"] for tag in endpoint.get("Tags", ())}
    ours = (tags.get("application"), tags.get("environment"))
    is_gateway = endpoint.get("VpcEndpointType") == "Gateway"
    return is_gateway and ours == (wanted.names.prefix, wanted.names.name)


def moved_gateways(stacks: Sequence[str], wanted: Wanted) -> list[Finding]:
    """Whether the deploy would make gateways that another stack of the environment has.

    `stacks` are the environment's stacks with gateway endpoints.
    """
    findings = []
    for stack in stacks:
        if wanted.gateway_stack in (None, stack):
            continue
        recovery = (
            f"give the stacks of the other tables names that sort after {stack}, or deploy once "
            "without route_table_ids (until the next deploy, the functions need another way to "
            "DynamoDB and S3)."
        )
        if stack not in wanted.tables:
            recovery = (
                "lambdas/domain declares no table for it, so delete it first: `aws cloudformation "
                f"delete-stack --stack-name {stack}`."
            )
        findings.append(
            _blocking(
                f"{stack} has the gateway endpoints, and this deploy would make them again in "
                f"{wanted.gateway_stack}, whose name sorts first; a route table takes one of each "
                f"service: {recovery}"
            )
        )
    return findings


def _table_of(subnet: str, tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the table that a subnet is associated with, or else the VPC's main one."""
    main = None
    for table in tables:
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main"):
                main = table
    return main


def _leads_out(table: Mapping[str, Any]) -> bool:
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0"
        and route.get("State") == "active"
        # An internet gateway serves public addresses, and a function has none.
        and not route.get("GatewayId", "").startswith("igw-")
        for route in table.get("Routes", ())
    )


def _serves(endpoint: Mapping[str, Any], service: str, table: str) -> bool:
    if not endpoint["ServiceName"].endswith(f".{service}"):
        return False
    if endpoint.get("VpcEndpointType") == "Gateway":
        return table in endpoint["RouteTableIds"]
    return _has_the_service_s_name(endpoint)


def key_of_domain(status: Mapping[str, Any]) -> str:
    """Return the key that a domain is encrypted with, empty if AWS does not say."""
    return str(status.get("EncryptionAtRestOptions", {}).get("KmsKeyId", ""))


def of_domain(
    status: Mapping[str, Any], wanted: Wanted, *, is_customers: bool = False
) -> list[Finding]:
    """Whether the environment's own domain has the VPC and the key; `status` is DomainStatus.

    `is_customers` says whether the domain's key is a customer's, where the settings name none.
    """
    name, findings = status["DomainName"], []
    vpc = status.get("VPCOptions", {}).get("VPCId") or None
    if vpc != wanted.network.vpc_id:
        findings.append(
            Finding(
                "own search domain",
                "blocking",
                f"The domain {name} is in {vpc or 'no VPC'}, vpc_id is "
                f"{wanted.network.vpc_id or 'not set'}, and AWS moves no domain: leave vpc_id as "
                "it was, or move the index to another domain (search_url).",
            )
        )
    key = key_of_domain(status)
    if wanted.key is None and is_customers:
        findings.append(
            Finding(
                "own search domain",
                "blocking",
                f"The domain {name} is encrypted with {key}, kms_key_arn is not set, and AWS "
                "changes the key of no domain: leave kms_key_arn as it was, or move the index to "
                "another domain (search_url).",
            )
        )
    if wanted.key and key.rpartition("/")[2] != wanted.key.rpartition("/")[2]:
        findings.append(
            Finding(
                "own search domain",
                "blocking",
                f"The domain {name} is encrypted with {key or 'a key of AWS'}, and AWS changes the "
                "key of no domain: leave kms_key_arn as it was, or move the index to another "
                "domain (search_url).",
            )
        )
    return findings
