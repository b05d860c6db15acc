"""Order of the steps of `make destroy`, and its messages about the rest."""

import pytest

from stacks.settings.names import Naming
from tests.tools.conftest import Make
from tests.tools.fake_aws import ACCOUNT, KINDS, REGION, FakeAws, Stack, s3, uuid
from tools.account.destroy import Removal
from tools.account.identity import Account, AccountError

STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-11-28T11:00:00.000"
BUCKET = "cdc-sandbox-pipeline-images"
DELETE = "cloudformation:DeleteStack"


@pytest.fixture
def sandbox(aws: FakeAws) -> FakeAws:
    """Everything that a sandbox has, in three stacks, and objects with versions in its bucket."""
    aws.tables["cdc-sandbox-pipeline-Orders"] = STREAM
    aws.add(
        Stack("cdc-sandbox-observability", imports=("function",)),
        Stack(
            "cdc-sandbox-pipeline",
            exports=("function",),
            imports=("domain",),
            resources=[
                (KINDS["table"], "cdc-sandbox-pipeline-Orders"),
                (KINDS["bucket"], BUCKET),
                (KINDS["mapping"], uuid("audit")),
            ],
        ),
        Stack("cdc-sandbox-search", exports=("domain",)),
    )
    aws.add_mapping(uuid("audit"), "cdc-sandbox-pipeline-Audit", "cdc-sandbox-pipeline-Orders")
    client = s3()
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        client.put_object(Bucket=BUCKET, Key="image", Body=body)
    client.delete_object(Bucket=BUCKET, Key="image")
    return aws


def removal(account: Account) -> tuple[Removal, list[str]]:
    said: list[str] = []
    names = Naming(name="sandbox", profile="sandbox")
    made = Removal(account, names, say=said.append, pause=lambda seconds: None)
    return made, said


def removed(account: Account) -> list[str]:
    """Remove the sandbox; return what is said."""
    made, said = removal(account)
    assert made.run(), said
    return said


def not_removed(account: Account) -> list[str]:
    """Remove what can be removed of the sandbox; return what is said of the rest."""
    made, said = removal(account)
    assert not made.run()
    return said


def test_everything_is_removed_and_reported(sandbox: FakeAws, account: Account) -> None:
    said = removed(account)
    assert (sandbox.stacks, sandbox.mappings, sandbox.tables) == ({}, {}, {})
    assert said[-1].startswith(f"Nothing of environment sandbox is left in account {ACCOUNT}")


def test_mappings_stop_before_buckets_and_stacks_go(sandbox: FakeAws, account: Account) -> None:
    def stopped() -> None:
        assert {each["State"] for each in sandbox.mappings.values()} <= {"Disabled"}

    sandbox.on_call = {"s3:DeleteObjects": stopped, DELETE: stopped}
    removed(account)
    assert "s3:DeleteObjects" in sandbox.calls


def test_a_mapping_that_is_busy_is_asked_again(sandbox: FakeAws, account: Account) -> None:
    sandbox.mappings[uuid("audit")]["State"] = "Updating"
    removed(account)


def test_a_mapping_that_does_not_stop_ends_with_a_sentence(
    sandbox: FakeAws, account: Account
) -> None:
    sandbox.errors["lambda:UpdateEventSourceMapping"] = "ResourceInUseException"
    made, _ = removal(account)
    seconds = iter(range(0, 10_000, 100))
    made.clock = lambda: next(seconds)
    with pytest.raises(AccountError, match="did not stop within 10 minutes"):
        made.run()
    assert DELETE not in sandbox.calls


def test_versions_and_delete_markers_are_objects_too(sandbox: FakeAws, account: Account) -> None:
    found = s3().list_object_versions(Bucket=BUCKET)
    assert (len(found["Versions"]), len(found["DeleteMarkers"])) == (2, 1)
    removed(account)


def test_every_bucket_of_every_stack_is_emptied(sandbox: FakeAws, account: Account) -> None:
    """Found among the stacks' resources: a new bucket needs no output to be found."""
    more = {
        "cdc-sandbox-pipeline": "cdc-sandbox-pipeline-given-up",
        "cdc-sandbox-search": "cdc-sandbox-search-s",
    }
    for stack, bucket in more.items():
        sandbox.stacks[stack].resources.append((KINDS["bucket"], bucket))
        s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3().put_object(Bucket=bucket, Key="key", Body=b"{}")
    removed(account)
    assert sandbox.stacks == {}
    assert s3().list_buckets()["Buckets"] == [], "S3 removes no bucket with objects"


def test_a_bucket_that_fills_up_again_is_emptied_again(sandbox: FakeAws, account: Account) -> None:
    late = iter([b"written while the stack was deleted"])

    def write() -> None:
        for body in late:
            s3().put_object(Bucket=BUCKET, Key="late", Body=body)

    sandbox.on_call[DELETE] = lambda: (
        write() if "cdc-sandbox-observability" not in sandbox.stacks else None
    )
    said = removed(account)
    assert "cdc-sandbox-pipeline is DELETE_FAILED: trying again." in said


def test_an_object_that_cannot_be_deleted_is_named(sandbox: FakeAws, make: Make) -> None:
    sandbox.denied.add("s3:DeleteObjects")
    assert make("destroy", "sandbox")[0] == 1
    assert "cdc-sandbox-pipeline" in sandbox.stacks


def test_a_bucket_that_never_stays_empty_is_a_problem(sandbox: FakeAws, account: Account) -> None:
    sandbox.bucket_is_empty = lambda name: False
    said = not_removed(account)
    assert (
        f"cdc-sandbox-pipeline could not be deleted: Logical{BUCKET}: "
        "The bucket you tried to delete is not empty"
    ) in said
    assert "  stack cdc-sandbox-pipeline" in said
    assert "cdc-sandbox-search stays because cdc-sandbox-pipeline imports from it." in said


class TestAttachedPolicies:
    """The runbook asks for them to be attached, and IAM deletes no policy that is."""

    ARN = f"arn:aws:iam::{ACCOUNT}:policy/cdc-sandbox-pipeline-Operator"

    @pytest.fixture
    def attached(self, sandbox: FakeAws) -> FakeAws:
        sandbox.stacks["cdc-sandbox-pipeline"].resources.append((KINDS["policy"], self.ARN))
        holders = {"Role": ["on-call", "on-duty"], "User": ["anna"], "Group": ["operators"]}
        sandbox.attached[self.ARN] = holders
        return sandbox

    def test_they_are_detached(self, attached: FakeAws, account: Account) -> None:
        said = removed(account)
        assert attached.attached[self.ARN] == {"Role": [], "User": [], "Group": []}
        assert "Detached cdc-sandbox-pipeline-Operator from the role on-call." in said

    def test_one_who_has_it_as_a_boundary_is_passed_over(
        self, attached: FakeAws, account: Account
    ) -> None:
        """IAM lists them as well, and knows nothing of them when they are to be detached."""
        attached.bounded["Role"] = ["builder"]
        said = removed(account)
        assert attached.attached[self.ARN]["User"] == []
        assert not any("builder" in line for line in said)

    def test_those_of_a_stack_that_stays_stay(self, attached: FakeAws, account: Account) -> None:
        attached.stacks["cdc-sandbox-pipeline"].protected = True
        not_removed(account)
        assert attached.attached[self.ARN]["Role"] == ["on-call", "on-duty"]

    def test_one_that_may_not_be_detached_is_named(
        self, attached: FakeAws, account: Account
    ) -> None:
        attached.denied.add("iam:DetachRolePolicy")
        said = not_removed(account)
        assert any(line.startswith(f"Detach {self.ARN} if anybody has it") for line in said)
        assert (
            f"cdc-sandbox-pipeline could not be deleted: Logical{self.ARN}: "
            "Cannot delete a policy attached to entities."
        ) in said


def test_a_search_stack_of_an_earlier_app_is_found(sandbox: FakeAws, account: Account) -> None:
    """`search_url` was set after a deploy: the app has no search stack, and the domain bills."""
    for name in ("cdc-sandbox-observability", "cdc-sandbox-pipeline"):
        del sandbox.stacks[name]
    sandbox.tables.clear()
    sandbox.mappings.clear()
    removal(account)[0].run()
    assert sandbox.stacks == {}


def test_a_domain_that_no_stack_holds_is_named_with_its_command(
    aws: FakeAws, account: Account
) -> None:
    tags = {"application": "cdc", "environment": "sandbox"}
    aws.domains = {"domain66ac69e0": {"tags": tags}, "somebodys": {"tags": {}}}
    said = not_removed(account)
    assert said == [
        "Still there: 1. These commands remove them, for good:",
        "  search domain domain66ac69e0",
        "    aws opensearch delete-domain --domain-name domain66ac69e0",
    ]


class TestLeftoverBuckets:
    """An update takes a bucket out of its stack, and cannot delete it with objects in it."""

    NAME = "cdc-sandbox-pipeline-maintenanceruns-1a2b"

    @pytest.fixture
    def leftover(self, aws: FakeAws) -> FakeAws:
        client, where = s3(), {"LocationConstraint": REGION}
        client.create_bucket(Bucket=self.NAME, CreateBucketConfiguration=where)
        client.put_object(Bucket=self.NAME, Key="runs/1/items.json", Body=b"[]")
        return aws

    @staticmethod
    def tagged(bucket: str) -> None:
        tags = {"application": "cdc", "environment": "sandbox"}
        tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
        s3().put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_set})

    def test_they_are_deleted(self, leftover: FakeAws, account: Account) -> None:
        self.tagged(self.NAME)
        said = removed(account)
        assert f"Deleting {self.NAME}, which no stack holds." in said
        assert s3().list_buckets()["Buckets"] == []

    def test_those_of_other_programs_stay(self, leftover: FakeAws, account: Account) -> None:
        assert f"  bucket {self.NAME}" in not_removed(account)

    def test_those_of_a_stack_that_stays_stay(self, leftover: FakeAws, account: Account) -> None:
        self.tagged(self.NAME)
        resources = [(KINDS["bucket"], self.NAME)]
        leftover.add(Stack("cdc-sandbox-pipeline", protected=True, resources=resources))
        not_removed(account)
        assert s3().list_objects_v2(Bucket=self.NAME)["KeyCount"] == 1

    def test_one_that_may_not_be_deleted_is_named(
        self, leftover: FakeAws, account: Account
    ) -> None:
        self.tagged(self.NAME)
        leftover.denied.add("s3:DeleteBucket")
        said = not_removed(account)
        assert said[2].startswith(f"{self.NAME} could not be deleted: ")
        assert f"    aws s3api delete-bucket --bucket {self.NAME}" in said


def test_resources_that_cannot_be_listed_are_not_called_gone(
    aws: FakeAws, account: Account
) -> None:
    aws.denied.add("opensearch:ListDomainNames")
    said = not_removed(account)
    assert said[0].startswith("Cannot list resources of the kind search domain")


def test_a_protected_stack_stays_and_is_named(sandbox: FakeAws, account: Account) -> None:
    sandbox.stacks["cdc-sandbox-pipeline"].protected = True
    said = not_removed(account)
    assert set(sandbox.stacks) == {"cdc-sandbox-pipeline", "cdc-sandbox-search"}
    assert "cdc-sandbox-pipeline is protected from deletion and stays." in said
    assert sandbox.mappings[uuid("audit")]["State"] == "Enabled", "its pipeline goes on"
    assert (
        "    aws cloudformation update-termination-protection --no-enable-termination-protection"
        " --stack-name cdc-sandbox-pipeline"
    ) in said


def test_a_stack_of_another_team_with_our_prefix_stays(sandbox: FakeAws, account: Account) -> None:
    sandbox.add(Stack("cdc-sandbox-search-of-another-team", is_ours=False))
    said = not_removed(account)
    assert set(sandbox.stacks) == {"cdc-sandbox-search-of-another-team"}
    assert any(
        line.startswith("cdc-sandbox-search-of-another-team stays: it has our") for line in said
    )


def test_a_resource_listed_after_its_deletion_is_ignored(aws: FakeAws, account: Account) -> None:
    """SQS, for one, lists a queue for up to a minute after it was deleted."""
    aws.tables["cdc-sandbox-pipeline-Orders"] = STREAM
    made, said = removal(account)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            aws.tables.clear()

    made.pause = pause
    assert made.run(), said
    assert len(pauses) == 3


def test_a_stack_with_foreign_imports_stays(sandbox: FakeAws, account: Account) -> None:
    sandbox.add(Stack("a-report", imports=("domain",)))
    said = not_removed(account)
    assert "cdc-sandbox-search stays because a-report imports from it." in said
    assert set(sandbox.stacks) == {"cdc-sandbox-search", "a-report"}


@pytest.mark.parametrize("state", ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"])
def test_a_deploy_that_goes_on_is_waited_for(
    sandbox: FakeAws, account: Account, state: str
) -> None:
    sandbox.stacks["cdc-sandbox-pipeline"].status = state
    said = removed(account)
    assert f"cdc-sandbox-pipeline is {state}: waiting until it is over." in said


@pytest.mark.parametrize("state", ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "DELETE_FAILED"])
def test_remains_of_a_failed_deploy_or_destroy_go(
    sandbox: FakeAws, account: Account, state: str
) -> None:
    sandbox.stacks["cdc-sandbox-pipeline"].status = state
    removed(account)


@pytest.mark.parametrize(
    "operation", ["lambda:UpdateEventSourceMapping", "s3:DeleteObjects", DELETE]
)
def test_a_destroy_is_interrupted_and_repeated(
    sandbox: FakeAws, make: Make, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def pressed() -> None:
        del sandbox.on_call[operation]
        raise KeyboardInterrupt

    sandbox.on_call[operation] = pressed
    status, said = make("destroy", "sandbox")
    assert status == 130
    assert "repeat the command to continue" in said
    assert make("destroy", "sandbox")[0] == 0
    assert sandbox.stacks == {}


def test_destroying_a_missing_environment_succeeds(aws: FakeAws, make: Make) -> None:
    status, said = make("destroy", "sandbox")
    assert status == 0
    assert "Nothing of environment sandbox is left" in said


def test_nothing_is_destroyed_unless_the_account_is_named(sandbox: FakeAws, make: Make) -> None:
    assert make("destroy", "sandbox", confirm="")[0] == 1
    assert len(sandbox.stacks) == 3
    assert DELETE not in sandbox.calls


def test_production_is_not_destroyed_by_a_make_target(aws: FakeAws, make: Make) -> None:
    tags = {"application": "cdc", "environment": "production"}
    aws.domains = {"domain66ac69e0": {"tags": tags}}
    aws.tables["cdc-production-pipeline-Orders"] = STREAM
    for name in ("pipeline", "search", "observability"):
        aws.add(Stack(f"cdc-production-{name}", protected=True))
    status, said = make("destroy", "production")
    assert status == 1
    assert "termination protection" in said
    for name in ("pipeline", "search", "observability"):
        assert f"aws cloudformation delete-stack --stack-name cdc-production-{name}" in said
    assert "aws dynamodb delete-table --table-name cdc-production-pipeline-Orders" in said
    assert "aws opensearch delete-domain --domain-name domain66ac69e0" in said
    changing = [call for call in aws.calls if "Delete" in call or "Update" in call]
    assert changing == []
