"""Steps of a rehearsal: compare a deployed pipeline, correct its orders, redrive."""

from collections.abc import Callable, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from local.console import DemoConsole
from local.demo import signals_unwind
from local.scenarios.poison_latency import REFUSING
from local.scenarios.recovery import summary, unexpected
from local.services.errors import ServiceError
from local.verify import Comparison, ReadError, compare, settle
from local.verify.expected import item_of
from local.workload.poison import Poison
from local.workload.poison import correct as correct_orders
from local.workload.traffic import Key, Written
from tools.account.identity import AccountError
from tools.account.places import Place

_SHOWN = 5  # differences


def settled(
    place: Place,
    console: DemoConsole,
    written: Written,
    enough: Callable[[Comparison], bool] = lambda found: found.equal,
) -> Comparison:
    """Return the comparison once it is `enough`, or stays the same for the place's time."""
    copies = place.copies()
    with console.stage("Comparing every item with every sink") as stage:
        found = settle(
            lambda: compare(copies, written.effective),
            unchanged_for=place.unchanged_for,
            enough=enough,
        )
        parts = ", ".join(f"{sink.sink} {sink.compared:,}" for sink in found.sinks)
        stage.outcome = f"Compared {found.items:,} orders: {parts}"
    return found


def expect_equal(place: Place, console: DemoConsole, written: Written, when: str) -> None:
    """Wait until every sink equals the table.

    Raises:
        AccountError: One does not; the message names the differences.
    """
    found = settled(place, console, written)
    if not found.equal:
        differences = [f"{each.sink}: {each}" for each in found.differences]
        refuse(differences or ["nothing to compare"], when)
    console.line(f"Every sink equals the table {when}.", "green")


def refuse(problems: Sequence[str], when: str) -> None:
    """Raise an AccountError with the first of these problems, if there are any."""
    if problems:
        shown = "\n  ".join(problems[:_SHOWN])
        message = f"{len(problems)} differences {when}:\n  {shown}"
        raise AccountError(message)


def expect_dead_letters(place: Place, console: DemoConsole, count: int) -> None:
    """Check the number of dead letters in `cdc dead-letters list`.

    Raises:
        AccountError: There are more or fewer.
    """
    _, found = place.command_line.json("dead-letters", "list")
    waiting = found["dead_letters"]
    reasons = ", ".join(sorted(str(each.get("reason")) for each in waiting))
    if len(waiting) != count:
        message = (
            f"`cdc dead-letters list` lists {len(waiting)} dead letters ({reasons}), not {count}."
        )
        raise AccountError(message)
    console.line(f"Dead letters: {count}{f' ({reasons})' if reasons else ''}.")


def correct(place: Place, console: DemoConsole, key: Key, written: Written) -> None:
    """Correct the poison order in the table.

    Raises:
        AccountError: Another order was corrected as well, or none.
    """
    done = correct_orders(place.account.client("dynamodb"), place.resources().orders)
    if done.corrected.total() != 1:
        message = f"{done.corrected.total()} orders were corrected, not 1: {dict(done.corrected)}"
        raise AccountError(message)
    written.effective[key] += 1
    console.line(f"Corrected in the table: {', '.join(done.corrected)}.")


def redrive(place: Place, console: DemoConsole) -> None:
    """Redrive every dead letter with `cdc`.

    Raises:
        AccountError: Not all of them succeeded.
    """
    with console.stage("Redriving") as stage:
        status, redrive = place.command_line.json("redrive", "--yes")
        if status:
            message = f"`cdc redrive` ended with status {status}: {redrive}"
            raise AccountError(message)
        stage.outcome = f"Redriven: {'; '.join(summary(redrive))}"


def recover(
    place: Place, console: DemoConsole, poison: Poison, written: Written, when: str
) -> None:
    """Check the effects of one poison order, correct and redrive it, and compare again.

    Raises:
        AccountError: A check failed.
    """
    [key] = poison.orders
    items = {item_of(*key)}
    found = settled(place, console, written, lambda found: not unexpected(found, items))
    refuse(unexpected(found, items), f"{when}, with a poison order")
    expect_dead_letters(place, console, len(REFUSING))
    correct(place, console, key, written)
    redrive(place, console)
    expect_equal(place, console, written, f"{when} and the redrive")
    expect_dead_letters(place, console, 0)


def exit_status(console: DemoConsole, rehearse: Callable[[], None]) -> int:
    """Run a rehearsal and return the exit status: 0, 1 after an error, 130 after Ctrl-C."""
    with signals_unwind():
        try:
            rehearse()
        except (AccountError, ServiceError, ReadError) as error:
            console.line(str(error), style="red")
            return 1
        except (BotoCoreError, ClientError) as error:
            console.line(f"AWS refused: {error}", style="red")
            return 1
        except KeyboardInterrupt:
            return 130
    return 0
