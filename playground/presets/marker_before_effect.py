# -- broken
"""The marker is written before the effect: a crash between the two loses the effect."""

# -- right
"""The effect comes before the marker: a crash between the two repeats it, and loses nothing."""


# -- both
class Store:
    """A table of markers, and a mail server. Each call is a request, which can fail."""

    def __init__(self):
        self.marks = set()
        self.mails = {}

    def is_marked(self, name):
        return name in self.marks

    def mark(self, name):
        self.marks.add(name)

    def mail(self, name, event_id):
        self.mails.setdefault(name, []).append(event_id)


store = Store()


def handler(event, context):
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["id"]["S"]
        if not store.is_marked(record["eventID"]):
            # -- broken
            store.mark(record["eventID"])
            store.mail(name, record["eventID"])
            # -- right
            store.mail(name, record["eventID"])
            store.mark(record["eventID"])
            # -- both


def read(store):
    return {
        name: {"changes told": len(set(ids)), "mails": len(ids)}
        for name, ids in store.mails.items()
    }


def compare(copy, items):
    """A mail may come twice; a change without a mail is a problem."""
    for name, states in items.history.items():
        told = copy[name]["changes told"] if name in copy else 0
        if told < len(states):
            yield f"{name}: {told} of {len(states)} changes told by mail"
