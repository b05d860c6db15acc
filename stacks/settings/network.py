"""Settings of the network: the VPC of the functions, and of the domain that the app makes."""

from typing import Annotated

from pydantic import BaseModel, Field

from stacks.settings.lists import FROM_TEXT

_Subnet = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
_SecurityGroup = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
_RouteTable = Annotated[str, Field(pattern=r"^rtb-[0-9a-f]{8,17}$")]


class NetworkSettings(BaseModel):
    """Network.

    Attributes:
        vpc_id: VPC of the functions and of the domain that the app creates. Without it, the
            functions are in no VPC, and the domain has a public endpoint.
            Example: `vpc-0123456789abcdef0`.
        subnet_ids: Private subnets in `vpc_id`, separated by commas. A domain takes the first ones,
            as many as `search_zones`, each in another Availability Zone.
            Example: `subnet-0123456789abcdef0,subnet-0123456789abcdef1`.
        security_group_ids: Security groups in `vpc_id` of the functions and of the domain. They
            have to allow HTTPS (443) out, and in from each other. Example: `sg-0123456789abcdef0`.
        route_table_ids: Route tables of the subnets to which the app adds gateway endpoints for
            DynamoDB and S3. Without it, these exist, or the subnets reach both by a NAT.
            Example: `rtb-0123456789abcdef0`.
    """

    vpc_id: Annotated[str, Field(pattern=r"^vpc-[0-9a-f]{8,17}$")] | None = None
    subnet_ids: Annotated[tuple[_Subnet, ...], FROM_TEXT] = ()
    security_group_ids: Annotated[tuple[_SecurityGroup, ...], FROM_TEXT] = ()
    route_table_ids: Annotated[tuple[_RouteTable, ...], FROM_TEXT] = ()

    def check_network(self) -> None:
        """Check the settings together.

        Raises:
            ValueError: with the sentence.
        """
        needed = ("subnet_ids", "security_group_ids")
        if self.vpc_id is None:
            if found := [each for each in (*needed, "route_table_ids") if getattr(self, each)]:
                message = f"Setting {found[0]!r} is given without 'vpc_id': say which VPC it is in"
                raise ValueError(message)
            return
        if missing := [name for name in needed if not getattr(self, name)]:
            message = (
                f"Setting {missing[0]!r} is missing: 'vpc_id' is {self.vpc_id!r}, so give "
                f"{' and '.join(missing)} of that VPC"
            )
            raise ValueError(message)
