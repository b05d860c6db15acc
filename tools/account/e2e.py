"""From nothing to a verified pipeline and back to nothing, on the emulator or in an account.

    python -m tools.account.e2e [ENVIRONMENT]

Deploys, writes 200 orders through their life, compares every copy with the table, makes one order
that cannot be applied, sees its dead letters, corrects it, redrives, compares again, destroys, and
lists what is left: nothing may be. Without an environment it runs on the emulator.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from local.console import DemoConsole
from local.demo import signals_unwind
from local.scenarios.recovery import PROCESSORS, unexpected
from local.services.errors import EngineError
from local.verify import ReadError
from local.verify.expected import item_of
from local.workload.poison import Poison
from local.workload.purchases import SAMPLE, read_purchases
from local.workload.traffic import Writer, Written
from tools.account import deploy, destroy, inventory
from tools.account.findings import stops
from tools.account.identity import ENVIRONMENTS, AccountError, confirm, sign_in
from tools.account.places import Place, in_account, on_emulator
from tools.account.steps import (
    correct,
    expect_dead_letters,
    expect_equal,
    redrive,
    refuse,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynamodb_streams_cdc.operations.manifest import Manifest
    from local.workload.purchases import Purchase
    from tools.account.findings import Finding

ORDERS = 200
NEIGHBOURS = 20
"""Healthy orders that are written around the poison order."""
SEED = 1
_DEPLOYED = (
    *("stack", "event source mapping", "function", "table", "bucket", "queue", "log group"),
    *("alarm", "rule"),
)
_EFFECT = (
    "e2e deploys environment {} with all that it has, writes orders, and destroys it again: half "
    "an hour to an hour where it makes an OpenSearch domain, at the price of that hour."
)


@dataclass
class Rehearsal:
    """One run in one place."""

    place: Place
    console: DemoConsole
    look: Callable[[], Sequence[Finding]]
    written: Written = field(default_factory=Written)

    def run(self) -> None:
        """Run every step; destroy whatever happens, unless somebody interrupts.

        Raises:
            AccountError: Something did not go as it should; the message says what.
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
                "Interrupted: what was deployed is still there. `make destroy ENVIRONMENT="
                f"{self.place.environment}` removes it."
            )
            raise
        except BaseException:
            self._destroy()
            raise
        if not self._destroy():
            message = "e2e failed: something is left, as listed above."
            raise AccountError(message)

    def _begin_with_nothing(self) -> None:
        rest = inventory.look(self.place.account, self.place.environment)
        if rest.unseen:
            message = (
                f"e2e destroys what it finds, and cannot see what is in {self.place.name}: "
                f"{dict(rest.unseen)}. Allow these listings."
            )
            raise AccountError(message)
        if rest.resources:
            some = ", ".join(str(each) for each in rest.resources[:3])
            message = (
                f"Environment {self.place.environment} has {len(rest.resources)} resources in "
                f"{self.place.name} already ({some}), and e2e destroys what it finds: choose an "
                f"account without it, or `make destroy ENVIRONMENT={self.place.environment}` first."
            )
            raise AccountError(message)

    def _see_what_is_there(self) -> None:
        """The look that is to prove that nothing is left must see what is deployed."""
        rest = inventory.look(self.place.account, self.place.environment, _DEPLOYED)
        blind = [kind for kind in _DEPLOYED if not rest.of(kind)]
        if blind:
            message = (
                f"No {' and no '.join(blind)} is found although the environment is deployed, so "
                f"nothing would prove that none is left ({dict(rest.unseen) or 'none is listed'})."
            )
            raise AccountError(message)
        self.console.line(f"Deployed: {len(rest.resources)} resources by the environment's prefix.")

    def _preflight(self) -> None:
        findings = self.look()
        if any(each.check == "bootstrap" and each.level == "blocking" for each in findings):
            self.console.line("The CDK is not set up here yet: e2e does that as well.")
            findings = [each for each in findings if each.check != "bootstrap"]
        for finding in findings:
            self.console.line(str(finding))
        if stops(findings):
            message = "Not deployed: what is BLOCKING above has to be mended first."
            raise AccountError(message)

    def _verify(self) -> None:
        place, console, manifest = self.place, self.console, self.place.manifest()
        purchases = read_purchases(SAMPLE)
        poison = Poison(SEED)
        self._write(manifest, islice(purchases, ORDERS), poison, f"{ORDERS} orders")
        expect_equal(place, console, manifest, self.written, "after the orders")
        hidden = poison.hidden(purchases, NEIGHBOURS + 1, 1)
        self._write(manifest, hidden, poison, f"{NEIGHBOURS} orders and a poison one")
        [key] = poison.orders
        items = {item_of(*key)}
        report = settled(
            place, console, manifest, self.written, lambda found: not unexpected(found, items)
        )
        refuse(unexpected(report, items), "with a poison order")
        expect_dead_letters(place, console, len(PROCESSORS))
        correct(place, console, manifest.source_table().table, key, self.written)
        redrive(place, console)
        expect_equal(place, console, manifest, self.written, "after the redrive")
        expect_dead_letters(place, console, 0)

    def _write(
        self,
        manifest: Manifest,
        purchases: Iterator[Purchase],
        poison: Poison,
        what: str,
    ) -> None:
        with self.console.stage(f"Writing {what}") as stage:
            client, table = self.place.account.client("dynamodb"), manifest.source_table().table
            self.written += Writer(client, table, seed=SEED, story=poison.story).run(purchases)
            stage.outcome = f"Written: {what}, {self.written.writes:,} writes so far"

    def _destroy(self) -> bool:
        self.console.line(f"Destroying environment {self.place.environment}")
        removal = destroy.Removal(
            self.place.account, self.place.environment, say=lambda s: self.console.line(f"  {s}")
        )
        return removal.run()


def rehearse(environment: str, options: str, console: DemoConsole) -> None:
    """Run e2e on the emulator (`local`) or in the account of this shell's credentials.

    Raises:
        AccountError, EngineError: It failed.
    """
    if environment == "local":
        with on_emulator(console) as (place, _, url):
            context = f"-c search_url={url}"
            Rehearsal(
                place, console, lambda: deploy.look(place.account, environment, context)
            ).run()
        return
    if environment == "production":
        message = (
            "e2e destroys what it deploys, and production is protected from that: name sandbox."
        )
        raise AccountError(message)
    account = sign_in(options)
    confirm(account, _EFFECT.format(environment))
    place = in_account(account, environment, options)
    Rehearsal(place, console, lambda: deploy.look(account, environment, options)).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 only if everything was right and nothing is left."""
    parser = argparse.ArgumentParser(prog="python -m tools.account.e2e", description=__doc__)
    parser.add_argument("environment", nargs="?", choices=(*ENVIRONMENTS, "local"))
    given = parser.parse_args(arguments).environment
    # Not ENVIRONMENT: its default is an environment of an account, and this one is the emulator.
    environment = given or os.environ.get("E2E_ENVIRONMENT") or "local"
    console = DemoConsole()
    with signals_unwind():
        try:
            rehearse(environment, os.environ.get("CDK_OPTIONS", ""), console)
        except (AccountError, EngineError, ReadError) as error:
            console.line(str(error), style="red")
            return 1
        except (BotoCoreError, ClientError) as error:
            console.line(f"AWS refused: {error}", style="red")
            return 1
        except KeyboardInterrupt:
            return 130
    console.line(
        "e2e is green: deployed, verified, redriven, verified, and nothing is left.", "green"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
