"""Say what is about to be done to which AWS account and Region, and ask.

`python tools/account.py deploy|destroy ENVIRONMENT`. Exits with 0 only once the account's number
was typed, or given as CONFIRM=<number> where nobody can type. Before a sandbox is destroyed its
buckets are emptied: CloudFormation removes none that holds something.
"""

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

EFFECTS = {
    "deploy": (
        "create or change its tables, functions, queues, buckets, alarms and, without search_url, "
        "an OpenSearch domain; the domain and the tables cost money while they exist"
    ),
    "destroy": "delete its stacks with all their tables, letters and documents, for good",
}
ENVIRONMENTS = ("sandbox", "production")
BUCKETS = ("DeadLetterBucketName", "OnFailureBucketName", "OverflowBucketName")
PROTECTED = (
    "Stacks of production are protected, and their tables, buckets and domain stay when they go. "
    "Turn the termination protection of cdc-production-pipeline and cdc-production-search off in "
    "the console, and run cdk destroy yourself."
)


def empty_buckets(session: boto3.Session, region: str, environment: str) -> None:
    """Delete the dead letters and the log's large images of an environment, if it is deployed."""
    stacks = session.client("cloudformation", region_name=region)
    name = f"cdc-{environment}-pipeline"
    try:
        outputs = stacks.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return
        raise
    for output in outputs:
        if output.get("OutputKey") in BUCKETS:
            bucket = output["OutputValue"]
            print(f"Deleting what is in {bucket}.")
            session.resource("s3", region_name=region).Bucket(bucket).objects.all().delete()


def main(arguments: list[str]) -> int:
    """Ask; return the exit status."""
    if len(arguments) != 2 or arguments[0] not in EFFECTS or arguments[1] not in ENVIRONMENTS:
        print(f"usage: make deploy|destroy ENVIRONMENT={'|'.join(ENVIRONMENTS)}, got {arguments}")
        return 2
    action, environment = arguments
    if arguments == ["destroy", "production"]:
        print(PROTECTED)
        return 1
    if "--profile" in os.environ.get("CDK_OPTIONS", ""):
        print(
            "Name the profile as AWS_PROFILE=..., so that the account asked about is the one used."
        )
        return 1
    try:
        session = boto3.Session()
    except BotoCoreError as error:
        print(f"No AWS profile: {error}.")
        return 1
    region: str | None = os.environ.get("AWS_REGION") or session.region_name
    if region is None:
        print("No AWS Region: set AWS_REGION, or one for your profile.")
        return 1
    try:
        identity = session.client("sts", region_name=region).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        reason = str(error).rstrip(".")
        print(f"No AWS account: {reason}. Sign in, set AWS_PROFILE, or mend the network.")
        return 1
    account = identity["Account"]
    print(f"AWS account {account}, Region {region}, as {identity['Arn']}.")
    print(f"{action} of environment {environment} will {EFFECTS[action]}.")
    confirmed = os.environ.get("CONFIRM")
    if confirmed is None:
        if not sys.stdin.isatty():
            print(f"Nobody can confirm it here: repeat with CONFIRM={account}.")
            return 1
        confirmed = input("Type the account's number to go on: ").strip()
    if confirmed != account:
        print(f"Not done: the account is {account}, not {confirmed or 'nothing'}.")
        return 1
    if action == "destroy":
        empty_buckets(session, region, environment)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
