"""Who may do what: IAM's evaluation of the policies that our templates have.

The rules are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
within one account: an explicit Deny wins, otherwise some policy has to allow. An element, operator
or principal that is not known here is an error, because the answer would be wrong.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "111122223333"

Context = Mapping[str, str]
Document = Mapping[str, Any]
"""A policy document without intrinsic functions."""


class NotUnderstoodError(Exception):
    """A policy has something that this evaluation does not know."""


@dataclass(frozen=True)
class Request:
    """One call.

    Attributes:
        principal: the ARN of a role, or the name of a service.
        context: condition keys in lower case; a key that the request does not have is absent.
    """

    principal: str
    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What IAM answers, and the statement that decided; none for an implicit denial."""

    allowed: bool
    because: str = "no policy allows it"


def decide(request: Request, policies: Iterable[Document]) -> Decision:
    """Return the decision of all policies that apply: of the principal and of the resource."""
    allowing = None
    for statement in _statements(policies):
        if _applies(statement, request):
            if statement["Effect"] == "Deny":
                return Decision(False, f"denied by {statement.get('Sid') or statement}")
            allowing = statement
    return Decision(True, str(allowing)) if allowing else Decision(False)


def _statements(policies: Iterable[Document]) -> Iterator[Mapping[str, Any]]:
    known = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    for policy in policies:
        for statement in policy["Statement"]:
            if unknown := set(statement) - known:
                message = f"{', '.join(sorted(unknown))} in {statement}"
                raise NotUnderstoodError(message)
            if statement["Effect"] not in ("Allow", "Deny"):
                message = f"Effect {statement['Effect']!r}"
                raise NotUnderstoodError(message)
            yield statement


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    return (
        _is_principal(statement.get("Principal"), request.principal)
        and any(like(one, request.action.lower()) for one in _each(statement["Action"], str.lower))
        and any(like(one, request.resource) for one in _each(statement["Resource"]))
        and all(
            _holds(operator, key.lower(), _each(values), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_principal(stated: Any, principal: str) -> bool:
    match stated:
        case None:  # A policy of the principal itself.
            return True
        case "*" | {"AWS": "*"}:
            return True
        case {"AWS": names}:
            # The account's root stands for all principals that the account lets do it.
            root = f"arn:aws:iam::{ACCOUNT}:root"
            return principal.startswith(f"arn:aws:iam::{ACCOUNT}:") and any(
                name in (principal, root) for name in _each(names)
            )
        case {"Service": names}:
            return principal in _each(names)
    message = f"Principal {stated}"
    raise NotUnderstoodError(message)


def like(pattern: str, text: str) -> bool:
    """Return whether a text is like a pattern: `*` for any characters, `?` for one."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda found, wanted: found == wanted,
    "StringLike": lambda found, wanted: like(wanted, found),
    "ArnEquals": lambda found, wanted: like(wanted, found),
    "ArnLike": lambda found, wanted: like(wanted, found),
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
    "NumericLessThan": lambda found, wanted: float(found) < float(wanted),
}


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    """Whether a condition holds; one on a key that the request lacks does not, but for Null."""
    if operator == "Null":
        (absent,) = wanted
        return (key not in context) == (absent == "true")
    if operator.startswith("ForAllValues:"):
        # True where the key is absent, too.
        compare = COMPARISONS[operator.partition(":")[2]]
        values = [one for one in context.get(key, "").split(",") if one]
        return all(any(compare(value, one) for one in wanted) for value in values)
    if operator not in COMPARISONS:
        message = f"condition {operator} on {key}"
        raise NotUnderstoodError(message)
    return key in context and any(COMPARISONS[operator](context[key], one) for one in wanted)


def _each(value: Any, change: Callable[[str], str] = str) -> list[str]:
    return [change(str(one)) for one in (value if isinstance(value, list) else [value])]
