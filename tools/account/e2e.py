"""Deploys, verifies and destroys a pipeline, on the emulator or in an account.

    python -m tools.account.e2e [ENVIRONMENT]

Deploys, writes 200 sample stories, compares every sink with the tables, writes an item that cannot
be applied, checks its dead letters, corrects it, redrives, compares again, destroys, and checks
that no resource is left. Without an environment it runs on the emulator.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from local.console import DemoConsole
from local.declaration import TABLES
from local.workload.poison import Poison
from local.workload.stories import ItemStory
from local.workload.traffic import Writer, Written
from tools.account import deploy, destroy, inventory
from tools.account.findings import Finding, refuse_blocking
from tools.account.identity import AccountError, confirm, sign_in
from tools.account.places import Place, in_account, on_emulator
from tools.account.settings import names_of, settings_of
from tools.account.steps import (
    exit_status,
    expect_equal,
    recover,
    sample_stories,
    with_poison,
)

STORIES = 200
NEIGHBOURS = 20
"""Healthy stories that are written around the poisoned one."""
SEED = 1
_DEPLOYED = (
    *("stack", "event source mapping", "function", "table", "bucket", "queue", "log group"),
    *("alarm", "rule"),
)
_EFFECT = (
    "e2e deploys environment {}, writes items, and destroys it again: 30 to 60 minutes with "
    "an OpenSearch domain, at the price of that hour."
)


@dataclass
class Rehearsal:
    """One run in one place."""

    place: Place
    console: DemoConsole
    look: Callable[[], Sequence[Finding]]
    written: Written = field(default_factory=Written)

    def run(self) -> None:
        """Run every step, then destroy, except after an interrupt.

        Raises:
            AccountError: A step failed; the message says which.
        """
        self._begin_with_nothing()
        self._preflight()
        try:
            with self.console.stage(f"Deploying to {self.place.name}") as stage:
                self.place.deploy(stage.say)
                stage.outcome = f"Deployed to {self.place.name}"
            self._see_what_is_there()
            with self.place.polling():
                self._verify()
        except KeyboardInterrupt:
            self.console.line(
                "Interrupted: the deployment stays. `make destroy ENVIRONMENT="
                f"{self.place.names.name}` removes it."
            )
            raise
        except BaseException:
            self._destroy()
            raise
        if not self._destroy():
            message = "e2e failed: the resources listed above are left."
            raise AccountError(message)

    def _begin_with_nothing(self) -> None:
        rest = inventory.look(self.place.account, self.place.names)
        if rest.unseen:
            message = (
                f"e2e destroys the environment, and may not list all of {self.place.name}: "
                f"{dict(rest.unseen)}. Allow these listings."
            )
            raise AccountError(message)
        if rest.resources:
            some = ", ".join(str(each) for each in rest.resources[:3])
            message = (
                f"Environment {self.place.names.name} has {len(rest.resources)} resources in "
                f"{self.place.name} already ({some}), and e2e destroys all of them: choose an "
                f"account without it, or `make destroy ENVIRONMENT={self.place.names.name}` first."
            )
            raise AccountError(message)

    def _see_what_is_there(self) -> None:
        """Check that the inventory, which proves that nothing is left, sees the deployment."""
        rest = inventory.look(self.place.account, self.place.names, _DEPLOYED)
        blind = [kind for kind in _DEPLOYED if not rest.of(kind)]
        if blind:
            message = (
                f"No {' and no '.join(blind)} is found although the environment is deployed, so "
                f"e2e cannot prove that none is left ({dict(rest.unseen) or 'none is listed'})."
            )
            raise AccountError(message)
        self.console.line(f"Deployed: {len(rest.resources)} resources by the environment's prefix.")

    def _preflight(self) -> None:
        findings = self.look()
        if any(each.check == "bootstrap" and each.level == "blocking" for each in findings):
            self.console.line("The CDK is not set up here yet: e2e sets it up.")
            findings = [each for each in findings if each.check != "bootstrap"]
        refuse_blocking(findings, self.console.line)

    def _verify(self) -> None:
        told = sample_stories(SEED)
        poison = Poison(SEED)
        self._write(islice(told, STORIES), f"{STORIES} stories")
        expect_equal(self.place, self.console, self.written, "after the stories")
        hidden = with_poison(poison, told, NEIGHBOURS + 1)
        self._write(hidden, f"{NEIGHBOURS} stories and a poisoned one")
        recover(self.place, self.console, poison, self.written, "after the stories")

    def _write(self, told: Iterator[ItemStory], what: str) -> None:
        with self.console.stage(f"Writing {what}") as stage:
            client = self.place.account.client("dynamodb")
            names = {each.table.name: each.resources.source for each in self.place.tables()}
            self.written += Writer(client, names, seed=SEED).run(told)
            stage.outcome = f"Written: {what}, {self.written.writes:,} writes so far"

    def _destroy(self) -> bool:
        self.console.line(f"Destroying environment {self.place.names.name}")
        removal = destroy.Removal(
            self.place.account, self.place.names, say=lambda s: self.console.line(f"  {s}")
        )
        return removal.run()


def rehearse(environment: str, options: str, console: DemoConsole) -> None:
    """Run e2e on the emulator (`local`) or in the account of this shell's credentials.

    Raises:
        AccountError, ServiceError: It failed.
    """
    if environment == "local":
        with on_emulator(console) as (place, _, url):
            context = f"-c search_url={url}"
            Rehearsal(
                place, console, lambda: deploy.look(place.account, environment, context)
            ).run()
        return
    names = names_of(environment, options)
    if names.keeps_data:
        message = (
            f"e2e destroys its deployment, and {environment}, which has profile production, is "
            "protected from that: choose sandbox."
        )
        raise AccountError(message)
    _refuse_existing_tables(environment, options)
    account = sign_in(options)
    confirm(account, _EFFECT.format(environment))
    place = in_account(account, names, options)
    Rehearsal(place, console, lambda: deploy.look(account, environment, options)).run()


def _refuse_existing_tables(environment: str, options: str) -> None:
    followed = settings_of(environment, options, TABLES).source_tables.values()
    if followed:
        names = " and ".join(f"the table {each.arn.rpartition('/')[2]}" for each in followed)
        message = (
            f"e2e writes sample items, and environment {environment} follows {names} of "
            "another program: choose an environment without source_tables."
        )
        raise AccountError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 only if every check passed and nothing is left."""
    parser = argparse.ArgumentParser(prog="python -m tools.account.e2e", description=__doc__)
    parser.add_argument("environment", nargs="?")
    given = parser.parse_args(arguments).environment
    # Not ENVIRONMENT: its default is an environment of an account, and this one is the emulator.
    environment = given or os.environ.get("E2E_ENVIRONMENT") or "local"
    console = DemoConsole()
    options = os.environ.get("CDK_OPTIONS", "")
    if status := exit_status(console, lambda: rehearse(environment, options, console)):
        return status
    console.line(
        "e2e is green: deployed, verified, redriven, verified, and nothing is left.", "green"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
