"""The endpoints of OpenSearch Service that the app can use, with the domain of each.

A role is granted a domain by name and Region, so both have to be readable from the endpoint, or
from the domain's ARN. The forms are those of "Supported endpoints" and "dual-stack" in the
developer guide, and of custom endpoints:
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/createupdatedomains.html
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/customendpoint.html
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_NAME_AND_ID = r"(?P<kind>search-|vpc-)?(?P<name>[a-z][a-z0-9-]{2,27})-(?P<id>[a-z0-9]+)"
_MANAGED = (
    re.compile(rf"{_NAME_AND_ID}\.(?P<region>[a-z0-9-]+)\.es\.amazonaws\.com(\.cn)?"),
    re.compile(
        rf"{_NAME_AND_ID}\.aos\.(?P<region>[a-z0-9-]+)\.on\.(aws|amazonwebservices\.com\.cn)"
    ),
)
_SERVERLESS = re.compile(r".+\.aoss\.(amazonaws\.com(\.cn)?|on\.aws)")


@dataclass(frozen=True)
class ManagedDomain:
    """A domain of OpenSearch Service, as its endpoint or its ARN names it.

    Attributes:
        arn: of the domain, where it was given.
        in_vpc: whether the endpoint says that only its VPC reaches it.
        id: of the endpoint, which tells domains of one name in two accounts apart; None for a
            custom one.
    """

    name: str
    region: str
    arn: str | None = None
    in_vpc: bool = False
    id: str | None = field(default=None, compare=False)


def normalised(url: str) -> str:
    """Return an http or https URL with scheme and host in lower case, without its default port.

    Raises:
        ValueError: it is not the URL of a host, or has more than scheme, host and port.

    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        message = "must be an http or https URL such as http://127.0.0.1:9250"
        raise ValueError(message)
    if parts.username or parts.password:
        message = "must not hold a name and password, which everybody can read in the template"
        raise ValueError(message)
    if parts.path.strip("/") or parts.query or parts.fragment:
        message = "must end after the host and the port"
        raise ValueError(message)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def managed_domain(url: str, arn: str | None = None) -> ManagedDomain:
    """Return the domain that a normalised URL reaches with signed requests.

    `arn` is the domain's, which a custom endpoint does not name.

    Raises:
        ValueError: signed requests cannot be granted or cannot arrive there; says which and why.

    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _SERVERLESS.fullmatch(host):
        message = (
            "is a collection of OpenSearch Serverless, which the search sink does not support "
            "(docs/decisions/0019-managed-domains-only.md): give the endpoint of a managed domain"
        )
        raise ValueError(message)
    if parts.scheme != "https" or parts.port is not None:
        message = "must be https on port 443, where a managed domain answers"
        raise ValueError(message)
    found = next((match for form in _MANAGED if (match := form.fullmatch(host))), None)
    region, name = (arn.split(":")[3], arn.rpartition("/")[2]) if arn else (None, None)
    if found is None:
        if region is None or name is None:
            message = (
                "does not name its domain and Region, which the function's role is granted: give "
                "the domain's ARN as well (-c search_domain_arn=arn:aws:es:REGION:ACCOUNT:domain/"
                "NAME)"
            )
            raise ValueError(message)
        return ManagedDomain(name, region, arn)
    in_vpc = found["kind"] == "vpc-"
    named = ManagedDomain(found["name"], found["region"], arn, in_vpc, found["id"])
    if arn and (name, region) != (named.name, named.region):
        message = (
            f"is the endpoint of domain {named.name} in {named.region}, and 'search_domain_arn' "
            f"names {name} in {region}: give the ARN of that endpoint's domain, or none"
        )
        raise ValueError(message)
    return named
