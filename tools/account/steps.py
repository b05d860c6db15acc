"""Steps of a rehearsal: compare a deployed pipeline, correct its items, redrive."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.testing.stories import StoriesError
from local.console import DemoConsole
from local.declaration import TABLES, stories
from local.demo import signals_unwind
from local.deployed.command_line import CommandLine
from local.deployed.resources import stack_of
from local.scenarios.recovery import summary, unexpected
from local.services.errors import ServiceError
from local.verify import Comparison, ReadError, compare, settle
from local.workload.poison import Poison
from local.workload.poison import correct as correct_items
from local.workload.stories import WHERE, ItemStory, read_stories
from local.workload.traffic import Written
from tools.account.identity import AccountError
from tools.account.places import Place

_SHOWN = 5  # differences
NO_POISON = f"No story in {WHERE} has poison"


def settled(
    place: Place,
    console: DemoConsole,
    written: Written,
    enough: Callable[[Comparison], bool] = lambda found: found.equal,
) -> Comparison:
    """Return the comparison once it is `enough`, or stays the same for the place's time."""
    tables = place.tables()
    with console.stage("Comparing every item with every sink") as stage:
        found = settle(
            lambda: compare(tables, written.effective),
            unchanged_for=place.unchanged_for,
            enough=enough,
        )
        counts: Counter[str] = Counter()
        for each in found.sinks:
            counts[each.unit] += each.compared
        parts = ", ".join(f"{count:,} {unit}" for unit, count in counts.items())
        stage.outcome = f"Compared {found.items:,} items: {parts}"
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


def expect_dead_letters(place: Place, console: DemoConsole, story: ItemStory, count: int) -> None:
    """Check the number of dead letters of the story's table in `cdc dead-letters list`.

    Raises:
        AccountError: There are more or fewer.
    """
    _, found = _line(place, story).json("dead-letters", "list")
    waiting = found["dead_letters"]
    reasons = ", ".join(sorted(str(each.get("reason")) for each in waiting))
    if len(waiting) != count:
        message = (
            f"`cdc dead-letters list` lists {len(waiting)} dead letters ({reasons}), not {count}."
        )
        raise AccountError(message)
    console.line(f"Dead letters: {count}{f' ({reasons})' if reasons else ''}.")


def correct(place: Place, console: DemoConsole, story: ItemStory, written: Written) -> None:
    """Correct the poisoned item in the table.

    Raises:
        AccountError: It was changed meanwhile.
    """
    [copies] = [each for each in place.tables() if each.table.name == story.table.name]
    client = place.account.client("dynamodb")
    done = correct_items(client, copies.resources.source, copies.table, [story])
    if done.corrected.total() != 1:
        message = f"{done.corrected.total()} items were corrected, not 1: {dict(done.corrected)}"
        raise AccountError(message)
    written.effective[story.item] += 1
    console.line(f"Corrected in the table: {', '.join(done.corrected)}.")


def _line(place: Place, story: ItemStory) -> CommandLine:
    return place.command_line.on(stack_of(place.names.stack_prefix, story.table))


def redrive(place: Place, console: DemoConsole, story: ItemStory) -> None:
    """Redrive every dead letter of the story's table with `cdc`.

    Raises:
        AccountError: Not all of them succeeded.
    """
    with console.stage("Redriving") as stage:
        status, redrive = _line(place, story).json("redrive", "--yes")
        if status:
            message = f"`cdc redrive` ended with status {status}: {redrive}"
            raise AccountError(message)
        stage.outcome = f"Redriven: {'; '.join(summary(redrive))}"


def recover(
    place: Place, console: DemoConsole, poison: Poison, written: Written, when: str
) -> None:
    """Check the effects of one poisoned item, correct and redrive it, and compare again.

    Without poison in the stories of the domain, it only compares.

    Raises:
        AccountError: A check failed.
    """
    if not poison.items:
        console.line(f"{NO_POISON}: nothing is redriven.", "yellow")
        expect_equal(place, console, written, when)
        return
    [story] = poison.items.values()
    found = settled(place, console, written, lambda found: not unexpected(found, poison))
    refuse(unexpected(found, poison), f"{when}, with a poisoned item")
    expect_dead_letters(place, console, story, len(poison.refusing))
    correct(place, console, story, written)
    redrive(place, console, story)
    expect_equal(place, console, written, f"{when} and the redrive")
    expect_dead_letters(place, console, story, 0)


def sample_stories(seed: int, *, first_entities: bool = False) -> Iterator[ItemStory]:
    """Yield the stories of the domain, those of each table's first entity if so asked."""
    for story in read_stories(TABLES, stories, seed, None):
        if story.entity == story.table.entities[0] or not first_entities:
            yield story


def with_poison(poison: Poison, told: Iterator[ItemStory], count: int) -> Iterator[ItemStory]:
    """Yield the next `count` stories, one of them poison if any has poison."""
    taken = list(islice(told, count))
    poisonous = int(any(story.poison for story in taken))
    return poison.hidden(iter(taken), len(taken), poisonous)


def exit_status(console: DemoConsole, rehearse: Callable[[], None]) -> int:
    """Run a rehearsal and return the exit status: 0, 1 after an error, 130 after Ctrl-C."""
    with signals_unwind():
        try:
            rehearse()
        except (AccountError, ServiceError, ReadError, StoriesError) as error:
            console.line(str(error), style="red")
            return 1
        except (BotoCoreError, ClientError) as error:
            console.line(f"AWS refused: {error}", style="red")
            return 1
        except KeyboardInterrupt:
            return 130
    return 0
