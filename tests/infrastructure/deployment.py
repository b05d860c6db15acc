"""What an assembly would be once deployed: names, ARNs and policies, without intrinsic functions.

A name is made up from the logical id. An ARN has the form that the service reference gives:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.infrastructure.policies import ACCOUNT, Context, Decision, Document, Request, decide
from tests.infrastructure.templates import Assembly, Resource, Template, as_list

REGION = "us-east-1"
UUID = "12345678-1234-1234-1234-123456789012"
"""Of every event source mapping."""
STREAM_LABEL = "2026-11-28T00:00:00.000"
"""Of every stream."""
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::DynamoDB::GlobalTable": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{name}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    "AWS::CloudWatch::CompositeAlarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{name}}",
    "AWS::OpenSearchService::Domain": f"arn:aws:es:{REGION}:{ACCOUNT}:domain/{{name}}",
}
POLICIES_OF_RESOURCES = (
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
)


def context_of(
    action: str, *, url: str = "https://", headers: Mapping[str, str] | None = None
) -> Context:
    """Return the condition keys of a request that a client of today sends.

    `url` says whether TLS is used, and then it is 1.3; `headers` are those of an S3 request. A put
    creates an object: the parts of a multipart upload do not, and nothing here uploads in parts
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html).
    """
    secure = url.startswith("https://")
    found = {"aws:securetransport": str(secure).lower(), "aws:principalaccount": ACCOUNT}
    if action.startswith("s3:"):
        found["s3:resourceaccount"] = ACCOUNT
        if secure:
            found["s3:tlsversion"] = "1.3"
        if action == "s3:PutObject":
            found["s3:objectcreationoperation"] = "true"
        for name, value in (headers or {}).items():
            if name.lower() == "if-none-match":
                found["s3:if-none-match"] = value
    return found


@dataclass(frozen=True)
class Deployment:
    """The stacks of an assembly, as they would be in an account."""

    assembly: Assembly

    def value(self, stack: str, value: Any) -> Any:
        """Return a value of a stack's template as CloudFormation would see it."""
        match value:
            case {"Ref": name} if name in PSEUDO:
                return PSEUDO[name]
            case {"Ref": name}:
                return self._reference(stack, name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(stack, name, attribute)
            case {"Fn::ImportValue": export}:
                return self._import(export)
            case {"Fn::Join": [delimiter, parts]}:
                return delimiter.join(self.value(stack, part) for part in parts)
            case {"Fn::Select": [index, parts]}:
                return self.value(stack, parts)[int(index)]
            case {"Fn::Split": [delimiter, text]}:
                return self.value(stack, text).split(delimiter)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([\w:]+)\}", lambda m: self.value(stack, {"Ref": m[1]}), text)
            case dict():
                assert not any(key.startswith("Fn::") for key in value), value
                return {key: self.value(stack, one) for key, one in value.items()}
            case list():
                return [self.value(stack, one) for one in value]
        return value

    def arn(self, action: str, name: str) -> str:
        """Return the ARN that IAM is asked about, for the name that a request has in it."""
        match action.partition(":")[0]:
            case "s3":
                return f"arn:aws:s3:::{name}"
            case "dynamodb":
                return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
            case "es":
                return f"{self.domain_arn}{name}"
            case "lambda" if name == UUID:
                return f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{name}"
            case "lambda":
                return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
            case "cloudwatch":
                return name  # it has no resources
            case "sqs":
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name.rpartition('/')[2]}"
            case "sns" | "states":
                return name  # a topic, a state machine and an execution are called by their ARN
            case "cloudformation":
                return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:{name}"
        message = f"what is {name} to {action}?"
        raise AssertionError(message)

    def decide(self, request: Request, own: list[Document] | None = None) -> Decision:
        """Return IAM's answer by the policies of the principal (`own`) and of the resource.

        Either may allow within an account. A domain is asked for both: its own policy lets the
        account in, and the role's policy says to what.
        """
        mine = self.policies_of(request.principal) if own is None else own
        theirs = self.policies_on(request.resource)
        if request.action.startswith("es:"):
            decision = decide(request, theirs)
            return decide(request, mine) if decision.allowed else decision
        return decide(request, [*mine, *theirs])

    def policies_of(self, role: str) -> list[Document]:
        """Return the policies of a role, by its ARN."""
        return [
            self.value(stack, policy["PolicyDocument"])
            for stack, policy in self._properties("AWS::IAM::Policy")
            if role
            in (ARNS["AWS::IAM::Role"].format(name=self.value(stack, r)) for r in policy["Roles"])
        ]

    def roles(self) -> list[str]:
        """Return the ARNs of all roles."""
        return [
            str(self._attribute(stack, name, "Arn"))
            for stack, template in self.assembly.templates.items()
            for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::IAM::Role"
        ]

    def managed_policy(self) -> Document:
        """Return the managed policies as one, which is what attaching them comes to."""
        documents = [
            self.value(stack, policy["PolicyDocument"])
            for stack, policy in self._properties("AWS::IAM::ManagedPolicy")
        ]
        return {"Statement": [one for document in documents for one in document["Statement"]]}

    def policies_on(self, resource: str) -> list[Document]:
        """Return the policies on the bucket, queue, topic or domain that a resource is in."""
        found = []
        for kind in POLICIES_OF_RESOURCES:
            for stack, policy in self._properties(kind):
                holders = as_list(
                    policy.get("Bucket") or policy.get("Queues") or policy.get("Topics")
                )
                if any(_is_at(self._arn_of(stack, holder), resource) for holder in holders):
                    found.append(self.value(stack, policy["PolicyDocument"]))
        for stack, domain in self._properties("AWS::OpenSearchService::Domain"):
            if resource.startswith(":".join(ARNS["AWS::OpenSearchService::Domain"].split(":")[:5])):
                found.append(self.value(stack, domain["AccessPolicies"]))
        return found

    @property
    def domain_arn(self) -> str:
        """The ARN of the one domain."""
        ((stack, name),) = [
            (stack, name)
            for stack, template in self.assembly.templates.items()
            for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::OpenSearchService::Domain"
        ]
        return str(self._attribute(stack, name, "Arn"))

    def _arn_of(self, stack: str, holder: Any) -> str:
        match holder:
            case {"Ref": name}:
                return str(self._attribute(stack, name, "Arn"))
        message = f"a policy on {holder}"
        raise AssertionError(message)

    def _properties(self, kind: str) -> Iterator[tuple[str, Resource]]:
        for stack, template in self.assembly.templates.items():
            for resource in template["Resources"].values():
                if resource["Type"] == kind:
                    yield stack, resource["Properties"]

    def _template(self, stack: str) -> Template:
        return self.assembly.templates[stack]

    def _reference(self, stack: str, name: str) -> str:
        kind = self._template(stack)["Resources"][name]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
        if kind == "AWS::Lambda::EventSourceMapping":
            return UUID
        if kind == "AWS::Lambda::Alias":
            alias = self._template(stack)["Resources"][name]["Properties"]
            function = alias["FunctionName"]["Ref"]
            return f"{self._attribute(stack, function, 'Arn')}:{alias['Name']}"
        if kind in ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"):
            return str(self._attribute(stack, name, "Arn"))
        return name.lower() if kind == "AWS::S3::Bucket" else name

    def _attribute(self, stack: str, name: str, attribute: str) -> str:
        kind = self._template(stack)["Resources"][name]["Type"]
        called = (
            name.lower() if kind in ("AWS::S3::Bucket", "AWS::OpenSearchService::Domain") else name
        )
        if kind == "AWS::Lambda::EventSourceMapping":
            return UUID
        assert kind in ARNS, f"add the form of the ARN of {kind} to ARNS"
        arn = ARNS[kind].format(name=called)
        match attribute:
            case "Arn" | "TopicArn" | "DomainArn":
                return arn
            case "StreamArn":
                return f"{arn}/stream/{STREAM_LABEL}"
            case "DomainEndpoint":
                return f"search-{called}-1a2b3c.{REGION}.es.amazonaws.com"
            case "QueueName" | "Name":
                return called
        message = f"{kind} has no attribute {attribute} here"
        raise AssertionError(message)

    def _import(self, export: str) -> Any:
        for stack, template in self.assembly.templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == export:
                    return self.value(stack, output["Value"])
        message = f"no stack exports {export}"
        raise AssertionError(message)


def _is_at(arn: str, resource: str) -> bool:
    return resource == arn or resource.startswith(f"{arn}/")
