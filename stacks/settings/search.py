"""Settings of OpenSearch: the domain that the app makes, or one that exists."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator

from dynamodb_streams_cdc.entities import Table
from stacks.endpoints import ManagedDomain, managed_domain, normalised

SearchAuth = Literal["iam", "none"]
DOMAIN_ARN = r"^arn:aws[a-z-]*:es:[a-z0-9-]+:\d{12}:domain/[a-z][a-z0-9-]{2,27}$"
# https://docs.aws.amazon.com/opensearch-service/latest/developerguide/supported-instance-types.html
INSTANCE_TYPE = r"^[a-z][a-z0-9]+\.[a-z0-9]+\.search$"
WITHOUT_VOLUMES = re.compile(r"(i|im|oi)\d|[cmr]\d+[a-z]*d\.")
WITHOUT_ENCRYPTION = re.compile(r"(m3|r3|t2)\.")
SIZES = {
    "search_nodes": "nodes",
    "search_instance_type": "instance_type",
    "search_volume_gib": "volume_gib",
    "search_masters": "masters",
    "search_master_instance_type": "master_instance_type",
    "search_zones": "zones",
    "search_logs": "publishes_logs",
}
"""Settings of a domain that the app makes, with their fields of `SearchCluster`."""


@dataclass(frozen=True, kw_only=True)
class SearchCluster:
    """The size of the OpenSearch domain that an environment creates, as its settings say."""

    nodes: int
    instance_type: str
    volume_gib: int
    masters: int = 0
    master_instance_type: str | None = None
    zones: int = 1
    publishes_logs: bool = False


def _fits_the_domain(instance_type: str) -> str:
    """Return an instance type whose nodes have EBS volumes and are encrypted at rest."""
    if WITHOUT_VOLUMES.match(instance_type):
        message = "must be of a family that takes EBS volumes, and this one has disks of its own"
        raise ValueError(message)
    if WITHOUT_ENCRYPTION.match(instance_type):
        message = "must be of a family that encrypts its data at rest, and t2, m3 and r3 do not"
        raise ValueError(message)
    return instance_type


InstanceType = Annotated[str, Field(pattern=INSTANCE_TYPE), AfterValidator(_fits_the_domain)]


def _masters(number: int) -> int:
    if number not in (0, 3, 5):
        message = "must be 0, 3 or 5, of which a majority can be told"
        raise ValueError(message)
    return number


class SearchSettings(BaseModel):
    """OpenSearch. Without a document in the declaration, these settings have no effect.

    Attributes:
        search_url: Endpoint of an existing OpenSearch domain. Without it, the app creates a domain;
            local has to name a cluster.
            Example: `https://search-orders-abc.eu-west-1.es.amazonaws.com`.
        search_domain_arn: Domain behind `search_url`, if that is a custom endpoint, which does not
            name it. Example: `arn:aws:es:eu-west-1:123456789012:domain/orders`.
        search_auth: Authorisation of requests to OpenSearch: signed with the function's role, or
            none, which only local may use. Example: `iam`.
        index_prefix: Beginning of the indexes' names, in front of those that the domain declares:
            for several deployments on one cluster. Environments of one domain differ in it.
            Example: `staging-`.
        search_nodes: Data nodes of the domain that the app creates, a multiple of `search_zones`.
            Example: `6`.
        search_instance_type: Instance type of a data node; its volumes are EBS. Example:
            `r7g.xlarge.search`.
        search_volume_gib: Volume (gp3) of each data node. Unit: GiB. Example: `200`.
        search_masters: Dedicated master nodes. Example: `3`.
        search_master_instance_type: Instance type of a dedicated master node. Example:
            `m7g.large.search`.
        search_zones: Availability Zones of the data nodes. Example: `3`.
        search_logs: The domain publishes its logs to CloudWatch Logs. Example: `true`.
    """

    search_url: str | None = None
    search_domain_arn: Annotated[str, Field(pattern=DOMAIN_ARN)] | None = None
    search_auth: SearchAuth = "iam"
    index_prefix: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,100})?$")] = ""
    search_nodes: Annotated[int, Field(ge=1, le=80)] = 1
    search_instance_type: InstanceType = "t3.small.search"
    search_volume_gib: Annotated[int, Field(ge=10, le=24_576)] = 10
    search_masters: Annotated[
        int, AfterValidator(_masters), Field(json_schema_extra={"enum": [0, 3, 5]})
    ] = 0
    search_master_instance_type: InstanceType | None = None
    search_zones: Annotated[int, Field(ge=1, le=3)] = 1
    search_logs: bool = False

    @field_validator("search_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        return None if url is None else normalised(url)

    def cluster_for(self, tables: Sequence[Table]) -> SearchCluster | None:
        """Return the size of the domain that the app makes for tables.

        None where it makes none: no table has an index, or the cluster exists.
        """
        if self.search_url is not None or self.search_auth == "none":
            return None
        if not any(table.indexes for table in tables):
            return None
        return SearchCluster(**{field: getattr(self, name) for name, field in SIZES.items()})

    @property
    def managed_domain(self) -> ManagedDomain | None:
        """The existing managed domain that `search_url` or `search_domain_arn` names.

        Raises:
            ValueError: neither names it, or they name two; says what to do.
        """
        if self.search_url is None or self.search_auth == "none":
            return None
        return managed_domain(self.search_url, self.search_domain_arn)

    def shares_indexes_with(self, other: "SearchSettings") -> bool:
        """Return whether both write into the same indexes of an existing domain."""
        if self.search_url is None or self.index_prefix != other.index_prefix:
            return False
        if self.search_domain_arn and other.search_domain_arn:
            # A custom endpoint may be another domain in another network.
            return self.search_domain_arn == other.search_domain_arn
        if self.search_url == other.search_url:
            return True
        mine, theirs = self._named_domain, other._named_domain
        if mine is None or theirs is None or (mine.id != theirs.id and mine.id and theirs.id):
            return False
        return (mine.name, mine.region) == (theirs.name, theirs.region)

    @property
    def _named_domain(self) -> ManagedDomain | None:
        try:
            return self.managed_domain
        except ValueError:
            return None

    def check_search(self, given: frozenset[str]) -> None:
        """Check the settings of OpenSearch together; `given` are those that cdk.json or -c gives.

        Raises:
            ValueError: with the sentence.
        """
        if self.search_url is not None:
            self._check_existing(given)
        elif self.search_domain_arn is not None:
            message = (
                "Setting 'search_domain_arn' is given without 'search_url': give the endpoint of "
                "the domain, too"
            )
            raise ValueError(message)
        elif self.search_auth == "iam":
            self._check_size()

    def _check_existing(self, given: frozenset[str]) -> None:
        if sizes := [name for name in SIZES if name in given]:
            message = (
                f"Setting {sizes[0]!r} is for a domain that the app creates, and 'search_url' "
                "names one that exists: leave one of them out"
            )
            raise ValueError(message)
        try:
            _ = self.managed_domain
        except ValueError as error:
            message = f"Setting 'search_url' is {self.search_url!r}, which {error}"
            raise ValueError(message) from None

    def _check_size(self) -> None:
        if self.search_nodes % self.search_zones:
            message = (
                f"Setting 'search_nodes' is {self.search_nodes}, which {self.search_zones} "
                "zones ('search_zones') cannot share evenly: give a multiple"
            )
            raise ValueError(message)
        if self.search_masters and self.search_master_instance_type is None:
            message = (
                "Setting 'search_master_instance_type' is missing: 'search_masters' asks for "
                f"{self.search_masters} dedicated master nodes, so say of which type"
            )
            raise ValueError(message)
