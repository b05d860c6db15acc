"""The refusals, skips and clean-ups of e2e and the upgrade rehearsal; CI runs them whole."""

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest
import urllib3
from botocore.credentials import Credentials

from dynamodb_streams_cdc.entities import Entity, Table
from lambdas import example_domain
from local.console import DemoConsole
from local.deployed.command_line import CommandLine
from local.verify import SignedHttp
from stacks.settings.names import Naming
from tests.tools.fake_aws import ACCOUNT, FakeAws, Stack
from tools.account import cdk, e2e, upgrade
from tools.account.findings import Finding
from tools.account.identity import Account, AccountError
from tools.account.places import Place, in_account

SANDBOX = Naming(name="sandbox", profile="sandbox")


def place(account: Account, deploy: Any = lambda say: None) -> Place:
    return Place(
        name="an account in memory",
        account=account,
        names=SANDBOX,
        deploy=deploy,
        polling=nullcontext,
        http=None,
        unchanged_for=0.0,
        command_line=CommandLine("sandbox", {}),
    )


def rehearsal(account: Account, deploy: Any, findings: Sequence[Finding] = ()) -> e2e.Rehearsal:
    return e2e.Rehearsal(place(account, deploy), DemoConsole(), lambda: findings)


class TestE2e:
    def test_it_destroys_nothing_that_was_there_before(
        self, aws: FakeAws, account: Account
    ) -> None:
        aws.add(Stack("cdc-sandbox-pipeline"))
        with pytest.raises(AccountError, match="e2e destroys all of them"):
            rehearsal(account, lambda say: pytest.fail("deployed")).run()
        assert "cdc-sandbox-pipeline" in aws.stacks

    def test_a_blocking_finding_stops_it(self, aws: FakeAws, account: Account) -> None:
        findings = [Finding("search domain", "blocking", "The instance type is not offered.")]
        with pytest.raises(AccountError, match="Not deployed"):
            rehearsal(account, lambda say: pytest.fail("deployed"), findings).run()

    def test_a_deploy_that_fails_leaves_nothing(self, aws: FakeAws, account: Account) -> None:
        def deploy(say: Any) -> None:
            aws.add(Stack("cdc-sandbox-pipeline", "ROLLBACK_COMPLETE"))
            message = "`cdk deploy` failed with status 1"
            raise AccountError(message)

        with pytest.raises(AccountError, match="cdk deploy"):
            rehearsal(account, deploy).run()
        assert aws.stacks == {}

    def test_ctrl_c_leaves_the_deployment_and_says_how_to_go_on(
        self, aws: FakeAws, account: Account, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def deploy(say: Any) -> None:
            aws.add(Stack("cdc-sandbox-pipeline"))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rehearsal(account, deploy).run()
        assert "cdc-sandbox-pipeline" in aws.stacks
        assert "`make destroy ENVIRONMENT=sandbox` removes it" in capsys.readouterr().out

    def test_a_look_that_sees_nothing_proves_nothing(self, aws: FakeAws, account: Account) -> None:
        def deploy(say: Any) -> None:
            aws.add(Stack("cdc-sandbox-pipeline"))

        with pytest.raises(AccountError, match="No event source mapping and no function"):
            rehearsal(account, deploy).run()

    def test_production_and_an_unnamed_account_are_refused(
        self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert e2e.main(["production"]) == 1
        assert e2e.main(["sandbox"]) == 1
        said = capsys.readouterr().out
        assert "which has profile production, is protected from that" in said
        assert f"repeat with CONFIRM={ACCOUNT}" in said

    def test_the_table_of_another_program_is_refused(
        self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arn = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/Shop"
        stream = f"{arn}/stream/2026-01-01T00:00:00.000"
        existing = json.dumps({"orders": {"arn": arn, "stream_arn": stream, "canary": True}})
        monkeypatch.setenv("CDK_OPTIONS", f"-c 'source_tables={existing}'")
        monkeypatch.setenv("CONFIRM", ACCOUNT)
        assert e2e.main(["sandbox"]) == 1
        assert (
            "environment sandbox follows the table Shop of another program: choose an environment "
            "without source_tables." in " ".join(capsys.readouterr().out.split())
        )
        assert aws.calls == []

    def test_a_region_that_is_bootstrapped_is_left_as_it_is(
        self, aws: FakeAws, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran: list[Sequence[str]] = []

        def run(arguments: Sequence[str], directory: Path, environment: object) -> int:
            ran.append(arguments)
            return 0

        monkeypatch.setattr(cdk, "run", run)
        in_account(account, SANDBOX, "").deploy(lambda sentence: None)
        aws.parameters["/cdk-bootstrap/hnb659fds/version"] = "30"
        in_account(account, SANDBOX, "").deploy(lambda sentence: None)
        assert [each[0] for each in ran] == ["bootstrap", "deploy", "deploy"]
        ran.clear()
        options = "-c @aws-cdk/core:bootstrapQualifier=ours"
        in_account(account, SANDBOX, options).deploy(lambda sentence: None)
        assert [each[0] for each in ran] == ["bootstrap", "deploy"]
        assert list(ran[0][2:4]) == ["--qualifier", "ours"]

    def test_without_an_environment_it_stays_on_this_machine(
        self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.delenv("E2E_ENVIRONMENT", raising=False)
        monkeypatch.setenv("ENVIRONMENT", "sandbox")
        monkeypatch.setattr(e2e, "rehearse", lambda environment, *_: asked.append(environment))
        assert e2e.main([]) == 0
        monkeypatch.setenv("E2E_ENVIRONMENT", "sandbox")
        assert e2e.main([]) == 0
        assert asked == ["local", "sandbox"]


class TestSignedReads:
    def test_the_signed_request_is_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[tuple[str, str, bytes | None, dict[str, str]]] = []

        def request(self: Any, method: str, url: str, *, body: Any, headers: Any) -> Any:
            sent.append((method, url, body, headers))
            return urllib3.HTTPResponse(b"{}")

        monkeypatch.setattr(urllib3.PoolManager, "request", request)
        http = SignedHttp(Credentials("AKIATEST", "secret", "token"), "eu-central-1")
        url = "https://search-orders-abc.eu-central-1.es.amazonaws.com/orders/_search?scroll=1m"
        http.request("POST", url, json={"size": 1})
        http.request("POST", url)
        for method, to, body, headers in sent:
            assert (method, to) == ("POST", url)
            scope = "/eu-central-1/es/aws4_request"
            assert (
                f"Credential=AKIATEST/{headers['X-Amz-Date'][:8]}{scope}"
                in (headers["Authorization"])
            )
            assert headers["X-Amz-Security-Token"] == "token"
            digest = hashlib.sha256(body or b"").hexdigest()
            assert headers["X-Amz-Content-SHA256"] == digest
        assert [body for _, _, body, _ in sent] == [b'{"size": 1}', None]


class TestUpgrade:
    @pytest.fixture
    def clone(self, tmp_path: Path) -> Path:
        """A repository of one commit."""
        (tmp_path / "app.py").write_text("one")
        for name in ("requirements-dev.txt", "pyproject.toml"):
            (tmp_path / name).write_text(name)
        self.git(tmp_path, "init", "--quiet")
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "commit", "--quiet", "--message", "One")
        return tmp_path

    @staticmethod
    def git(folder: Path, *words: str) -> str:
        who = {
            f"GIT_{role}_{what}": "t"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            env={**os.environ, **who},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def test_the_earlier_tree_is_that_of_its_commit(self, clone: Path) -> None:
        commit = self.git(clone, "rev-parse", "HEAD")
        (clone / "app.py").write_text("two")
        with upgrade.earlier_tree(commit, clone) as earlier:
            assert (earlier / "app.py").read_text() == "one"
            assert upgrade.same_packages(earlier, clone)
            (clone / "requirements-dev.txt").write_text("other packages")
            assert not upgrade.same_packages(earlier, clone)
        assert not earlier.exists()
        assert self.git(clone, "worktree", "list").count("\n") == 0

    def test_the_current_tree_is_not_upgraded_from(self, clone: Path) -> None:
        self.git(clone, "commit", "--quiet", "--allow-empty", "--message", "Two")
        for commit in ("HEAD", "HEAD~1"):
            with (
                pytest.raises(AccountError, match=f"^Commit {commit} has the files of this tree"),
                upgrade.earlier_tree(commit, clone),
            ):
                pass
        (clone / "app.py").write_text("two")
        with upgrade.earlier_tree("HEAD", clone) as earlier:
            assert (earlier / "app.py").read_text() == "one"

    def test_a_clone_without_the_commit_is_skipped(self, clone: Path) -> None:
        with (
            pytest.raises(upgrade.SkippedError, match=r"^Skipped: .*git fetch --unshallow"),
            upgrade.earlier_tree(upgrade.EARLIER, clone),
        ):
            pass

    def test_so_is_a_folder_without_git(self, tmp_path: Path) -> None:
        with (
            pytest.raises(upgrade.SkippedError),
            upgrade.earlier_tree(upgrade.EARLIER, tmp_path),
        ):
            pass

    def test_a_skipped_rehearsal_is_reported_and_succeeds(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def nothing(commit: str) -> NoReturn:
            message = f"Skipped: commit {commit} is not in this clone"
            raise upgrade.SkippedError(message)

        monkeypatch.delenv("REHEARSED_COMMIT", raising=False)
        monkeypatch.setattr(upgrade, "TABLES", example_domain.TABLES)
        monkeypatch.setattr(upgrade, "earlier_tree", nothing)
        assert upgrade.main([]) == 0
        assert f"Skipped: commit {upgrade.EARLIER}" in capsys.readouterr().out
        monkeypatch.setenv("REHEARSED_COMMIT", "v1")
        assert upgrade.main([]) == 1
        assert "Skipped: commit v1" in capsys.readouterr().out

    def test_a_fork_names_the_commit_that_it_has_deployed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rehearsed: list[str] = []
        monkeypatch.delenv("REHEARSED_COMMIT", raising=False)
        monkeypatch.setattr(upgrade, "TABLES", (Table("climate", {"id": "S"}, [Entity("a")]),))
        monkeypatch.setattr(upgrade, "rehearse", lambda commit, _: rehearsed.append(commit))
        assert upgrade.main([]) == 0
        assert "make upgrade-rehearsal COMMIT=..." in " ".join(capsys.readouterr().out.split())
        assert rehearsed == []
        monkeypatch.setenv("COMMIT", "exported")
        assert upgrade.main([]) == 0
        assert rehearsed == []
        monkeypatch.setenv("REHEARSED_COMMIT", "v1")
        assert upgrade.main([]) == 0
        assert rehearsed == ["v1"]

    def test_a_table_that_the_upgrade_replaced_is_refused(
        self, aws: FakeAws, account: Account
    ) -> None:
        made = upgrade.Upgrade(place(account), None, "", DemoConsole())  # type: ignore[arg-type]
        tables = [("AWS::DynamoDB::Table", "orders-1"), ("AWS::SQS::Queue", "queue-1")]
        aws.add(Stack("cdc-sandbox-pipeline", resources=tables))
        before = made._stores()
        assert before == {"Logicalorders-1": "orders-1"}
        made._refuse_replaced(before)
        with pytest.raises(AccountError, match="Logicalorders-1: orders-0 became orders-1"):
            made._refuse_replaced({"Logicalorders-1": "orders-0"})
