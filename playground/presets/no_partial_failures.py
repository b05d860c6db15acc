# -- broken
"""One bad record fails the batch: the good ones are repeated, and given up with it."""

# -- right
"""The bad record becomes a dead letter of its own, and the good ones go on."""

from dynamodb_streams_cdc import ChangeHandlers, PermanentError, Processor, Source
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters


# -- both
class Carrier:
    """Collects parcels; one of more than 90 kg has no known address."""

    def __init__(self):
        self.collected = set()

    def collect(self, order, weight):
        if weight > 90:
            # -- broken
            raise ValueError(f"no address: {order}")
            # -- right
            raise PermanentError(f"no address: {order}", "NoAddress")
            # -- both
        self.collected.add(order)


# -- broken
store = Carrier()


def handler(event, context):
    for record in event["Records"]:
        if record["eventName"] != "INSERT":
            continue
        image = record["dynamodb"]["NewImage"]
        store.collect(image["id"]["S"], int(image["amount"]["N"]))


def read(store):
    return dict.fromkeys(store.collected, "collected")


# -- right
def make(trial):
    """A change that can never succeed becomes a dead letter of its own; the others go on."""
    carrier = Carrier()
    port = trial.faulty(carrier)
    handlers = ChangeHandlers()

    @handlers.on_insert
    def collect(change):
        port.collect(change.new_image["id"], int(change.new_image["amount"]))

    dead_letters = MemoryDeadLetters()
    handler = Processor("parcels", Source("orders"), handlers, dead_letters, clock=trial.clock)
    return handler, lambda: dict.fromkeys(carrier.collected, "collected")


# -- both
def wanted(items):
    first = {name: states[0] for name, states in items.history.items()}
    return {name: "collected" for name, item in first.items() if item["amount"] <= 90}
