"""Gateway endpoints, by which functions in a VPC reach DynamoDB and S3 without a NAT.

The functions call nothing else but OpenSearch, and SNS if an entity sends notifications. That takes
an interface endpoint, which the owner of the VPC makes and pays
(https://docs.aws.amazon.com/sns/latest/dg/sns-vpc-create-endpoint.html). Lambda polls the streams,
writes the logs (metrics are log lines) and the traces, and EventBridge fills the queues, all
outside of the VPC.
https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
"""

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from stacks.settings.network import NetworkSettings

SERVICES = {"DynamoDb": "dynamodb", "S3": "s3"}


def add_gateways(scope: Construct, network: NetworkSettings) -> None:
    """Add an endpoint for each service to the route tables that the settings name."""
    assert network.vpc_id is not None
    for id, service in SERVICES.items():
        ec2.CfnVPCEndpoint(
            scope,
            f"{id}Gateway",
            vpc_id=network.vpc_id,
            service_name=Fn.join(".", ["com.amazonaws", Aws.REGION, service]),
            vpc_endpoint_type="Gateway",
            route_table_ids=list(network.route_table_ids),
        )
