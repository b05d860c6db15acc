"""The declaration of a table: its keys, its entities, and the copies that each entity has.

    ORDERS = Table(
        "orders",
        keys={"customer_id": "S", "order_id": "S"},
        entities=(
            Entity("order", keys={"order_id": anything_but("PROFILE")}, document=..., index=...),
            Entity("customer", keys={"order_id": exactly("PROFILE")}, contributions=...),
        ),
    )

One table often holds items of several entities. An entity is recognised by its items' keys alone,
because keys never change. Each sink holds the items of the entities that use it, and nothing of any
other item: no row, no document, no tombstone.

A wrong declaration raises `DeclarationError` when it is imported.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, TypeAlias

from dynamodb_streams_cdc.change import Image, Source
from dynamodb_streams_cdc.errors import CdcError, PermanentError
from dynamodb_streams_cdc.identity import check_table
from dynamodb_streams_cdc.sinks.aggregation import Expiry as Expiry
from dynamodb_streams_cdc.sinks.contributions import Contribution

KeyType: TypeAlias = Literal["S", "N", "B"]
KEY_TYPES: tuple[KeyType, ...] = ("S", "N", "B")
Unknown: TypeAlias = Literal["ignore", "dead-letter"]
UNKNOWN: tuple[Unknown, ...] = ("ignore", "dead-letter")

AGGREGATION, SEARCH, AUDIT = "aggregation", "search", "audit"
BUILT_IN = (AGGREGATION, SEARCH, AUDIT)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_STACK = re.compile(r"(?=.{1,100}$)pipeline(-[a-z0-9]+){0,3}", re.ASCII)
_INDEX = re.compile(r"[a-z0-9][a-z0-9_-]{0,200}", re.ASCII)
_ALIAS_OF_AN_INDEX = re.compile(r".*-(write|second|own|v\d+)")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_mapping(value: object, of: Callable[[object], bool]) -> bool:
    return (
        isinstance(value, Mapping)
        and all(map(_is_text, value))
        and all(of(each) for each in value.values())
    )


def _are(kind: type, values: object) -> bool:
    return isinstance(values, Sequence) and all(isinstance(each, kind) for each in values)


class DeclarationError(CdcError, ValueError):
    """A declaration is wrong; the message names the table, the entity, and the correction."""


class UnknownItem(PermanentError):
    """An item of no entity, in a table whose declaration says `unknown="dead-letter"`."""


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A condition on a text key: one of these values, none of them, or a beginning.

    The three conditions are those that filters of a mapping can state as well
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html).
    """

    kind: Literal["exactly", "anything-but", "starts-with"]
    values: tuple[str, ...]

    def matches(self, value: object) -> bool:
        """Return whether a key has this form."""
        match self.kind:
            case "exactly":
                return value in self.values
            case "anything-but":
                return value not in self.values
            case "starts-with":
                return isinstance(value, str) and value.startswith(self.values)

    def overlaps(self, other: "KeyPattern") -> bool:
        """Return whether a value can have both forms."""
        kinds = {self.kind, other.kind}
        if "exactly" in kinds:
            given, tested = (self, other) if self.kind == "exactly" else (other, self)
            return any(tested.matches(value) for value in given.values)
        if kinds == {"starts-with"}:
            return any(
                one.startswith(another) or another.startswith(one)
                for one in self.values
                for another in other.values
            )
        return True

    @property
    def rules(self) -> list[Any]:
        """The rules of a mapping's filter that match the same values."""
        match self.kind:
            case "exactly":
                return list(self.values)
            case "anything-but":
                return [{"anything-but": list(self.values)}]
            case "starts-with":
                return [{"prefix": value} for value in self.values]


def exactly(*values: str) -> KeyPattern:
    """Return the condition that a text key is one of these values."""
    return KeyPattern("exactly", _texts(values))


def anything_but(*values: str) -> KeyPattern:
    """Return the condition that a text key is none of these values."""
    return KeyPattern("anything-but", _texts(values))


def starts_with(*prefixes: str) -> KeyPattern:
    """Return the condition that a text key begins with one of these prefixes."""
    return KeyPattern("starts-with", _texts(prefixes))


def _texts(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or not all(map(_is_text, values)):
        message = f"a key's pattern has one or more texts that are not empty, got {values!r}"
        raise DeclarationError(message)
    return values


@dataclass(frozen=True, kw_only=True)
class Index:
    """A search index.

    Attributes:
        name: readers search it. The app makes the index `NAME-v1` and the aliases `NAME-write` and
            `NAME-v1-own`; a rebuild makes `NAME-v2`, `NAME-v2-own` and `NAME-second`.
        properties: types of the documents' fields, as in an OpenSearch mapping.
        settings: of the index, as OpenSearch takes them. Without `number_of_replicas` or
            `auto_expand_replicas`, it has a replica where a second node can hold it ("0-1").
    """

    name: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (
            not _is_text(self.name)
            or not _INDEX.fullmatch(self.name)
            or _ALIAS_OF_AN_INDEX.fullmatch(self.name)
        ):
            message = (
                f"an index's name is 1 to 201 of a-z 0-9 _ -, and ends neither in -write nor in -v "
                f"and digits, nor in -second or -own, which the app appends; got {self.name!r}"
            )
            raise DeclarationError(message)
        for name in ("properties", "settings"):
            if not isinstance(value := getattr(self, name), Mapping):
                message = f"index {self.name!r}: `{name}` must be a mapping; got {value!r}"
                raise DeclarationError(message)
        for problem in _problems_of_fields(self.properties):
            message = f"index {self.name!r}: {problem}"
            raise DeclarationError(message)


def _problems_of_fields(properties: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """Yield what OpenSearch would refuse when the first change comes."""
    for name, mapping in properties.items():
        path = f"{parent}{name}"
        known: Mapping[str, Any] = mapping if isinstance(mapping, Mapping) else {}
        kind, inner = known.get("type"), known.get("properties")
        for fields in (inner, known.get("fields")):
            if isinstance(fields, Mapping):
                yield from _problems_of_fields(fields, f"{path}.")
        if not _is_text(name):
            yield f"the name of a field must be a text that is not empty; got {path!r}"
        elif not (_is_text(kind) or isinstance(inner, Mapping) or [*known] == ["enabled"]):
            form = "a mapping with a type, such as {'type': 'keyword'}, or with properties"
            yield f"field {path!r} must be {form}; got {mapping!r}"
        elif near := _near(kind):
            yield f"field {path!r} has the type {kind!r}, and OpenSearch has {near!r}"
        elif kind == "scaled_float" and not _is_factor(known.get("scaling_factor")):
            form = "a scaling_factor greater than 0, such as 100"
            yield f"field {path!r} is a scaled_float, which needs {form}; got {mapping!r}"


_TYPES = (
    *("alias", "binary", "boolean", "byte", "completion", "constant_keyword", "date"),
    *("date_nanos", "date_range", "double", "double_range", "flat_object", "float"),
    *("float_range", "geo_point", "geo_shape", "half_float", "integer", "integer_range", "ip"),
    *("ip_range", "join", "keyword", "knn_vector", "long", "long_range", "match_only_text"),
    *("nested", "object", "percolator", "rank_feature", "rank_features", "scaled_float"),
    *("search_as_you_type", "semantic", "short", "sparse_vector", "text", "token_count"),
    *("unsigned_long", "wildcard", "xy_point", "xy_shape"),
)
"""Types of fields (https://docs.opensearch.org/latest/mappings/supported-field-types/index/);
plugins have more."""
_OF_OTHERS: Mapping[str, str] = {
    "bool": "boolean",
    "datetime": "date",
    "int": "integer",
    "number": "double",
    "str": "keyword",
    "string": "keyword",
}
"""Types of other systems, and older ones, which look like none of these, and what is meant."""


def _near(kind: object) -> str | None:
    """Return the type that is meant, if one is misspelt, or another system's."""
    if not isinstance(kind, str) or kind in _TYPES:
        return None
    if kind in _OF_OTHERS:
        return _OF_OTHERS[kind]
    from difflib import get_close_matches  # for a mistake alone: functions import this module

    return next(iter(get_close_matches(kind, _TYPES, 1, 0.8)), None)


def _is_factor(value: object) -> bool:
    try:
        return 0 < float(str(value)) < float("inf")  # OpenSearch takes text as well
    except ValueError:
        return False


@dataclass(frozen=True)
class Entity:
    """The items of one kind, and the copies that they have.

    Attributes:
        name: of the entity: `a-z 0-9 -`, at most 40 characters.
        keys: conditions on text keys, by attribute; without one, any value fits.
        contributions: returns an item's part in each aggregate; without it, the entity has none.
        expiry: effect of an expiry by Time to Live on the contribution.
        document: returns an item's search document, or None; without it, the entity has none.
        index: holds the documents.
        audited: whether the change log has every change.
        sinks: functions of an item's image for further sinks, by the sink's name.
    """

    name: str
    keys: Mapping[str, KeyPattern] = field(default_factory=dict)
    contributions: Callable[[Image], Contribution] | None = None
    expiry: Expiry = Expiry.DROP
    document: Callable[[Image], Mapping[str, Any] | None] | None = None
    index: Index | None = None
    audited: bool = True
    sinks: Mapping[str, Callable[[Image], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _is_text(self.name) or not _NAME.fullmatch(self.name):
            self._refuse(
                "its name must begin with a-z and have at most 40 of a-z 0-9 -: rename the entity"
            )
        for field_name, is_right, form in self._forms():
            if not is_right:
                self._refuse(f"`{field_name}` must be {form}; got {getattr(self, field_name)!r}")
        object.__setattr__(self, "expiry", Expiry(self.expiry))
        if (self.document is None) != (self.index is None):
            missing, given = ("index", "document") if self.document else ("document", "index")
            self._refuse(
                f"it has `{given}` without `{missing}`: a document needs an index, and an index a "
                f"document; give `{missing}` or leave `{given}` out"
            )
        for name in self.sinks:
            if name in BUILT_IN or not _NAME.fullmatch(name):
                self._refuse(
                    f"{name!r} under `sinks` is not the name of a further sink: use a-z 0-9 - and "
                    f"none of {', '.join(BUILT_IN)}"
                )

    def _forms(self) -> Iterator[tuple[str, bool, str]]:
        """Yield each field with whether it has its form, and the form."""
        pattern = "a mapping from attributes to patterns, such as {'sk': exactly('A')}"
        yield "keys", _is_mapping(self.keys, lambda each: isinstance(each, KeyPattern)), pattern
        for name in ("contributions", "document"):
            function = getattr(self, name)
            yield name, function is None or callable(function), "a function of an item's image"
        expiries = [form for each in Expiry for form in (each, each.value)]
        yield "expiry", self.expiry in expiries, "Expiry.DROP or Expiry.KEEP"
        yield "index", self.index is None or _are(Index, [self.index]), "an Index(name=...)"
        yield "audited", _are(bool, [self.audited]), "True or False"
        functions = "a mapping from sinks to functions, such as {'notifications': order.notice}"
        yield "sinks", _is_mapping(self.sinks, callable), functions

    def _refuse(self, problem: str) -> None:
        message = f"entity {self.name!r}: {problem}"
        raise DeclarationError(message)

    def uses(self, sink: str) -> bool:
        """Return whether a sink holds the entity's items."""
        match sink:
            case "aggregation":
                return self.contributions is not None
            case "search":
                return self.document is not None
            case "audit":
                return self.audited
            case _:
                return sink in self.sinks

    def owns(self, keys: Mapping[str, object]) -> bool:
        """Return whether the item with these keys is one of the entity."""
        return all(pattern.matches(keys.get(name)) for name, pattern in self.keys.items())


@dataclass(frozen=True)
class Table:
    """A source table.

    Attributes:
        name: logical name, the first part of every item's identity. It stays when the physical
            table is replaced.
        keys: the key attributes with their types, the partition key first.
        entities: all whose items have copies; none is a parent of another: no key fits two.
        expires_by: attribute with the time at which Time to Live deletes an item. Unit: seconds
            since 1970.
        actor_attribute: attribute in which the application says who wrote the item.
        unknown: `ignore` counts an item of no entity and goes on; `dead-letter` makes each of its
            changes a dead letter of every processor that reads the table's stream.
        stack: last part of the stack's name: `pipeline`, or `pipeline-NAME`. Two tables of an app
            need two.
    """

    name: str
    keys: Mapping[str, KeyType]
    entities: Sequence[Entity]
    expires_by: str | None = None
    actor_attribute: str | None = None
    unknown: Unknown = "ignore"
    stack: str = "pipeline"

    def __post_init__(self) -> None:
        try:
            check_table(self.name if _is_text(self.name) else "")
        except ValueError:
            message = f"a table's logical name is 1 to 255 of A-Z a-z 0-9 _ . -, got {self.name!r}"
            raise DeclarationError(message) from None
        for problem in self._problems():
            message = f"table {self.name!r}: {problem}"
            raise DeclarationError(message)

    def _problems(self) -> Iterator[str]:
        if not _is_mapping(self.keys, KEY_TYPES.__contains__) or not 1 <= len(self.keys) <= 2:
            yield (
                "`keys` must have one or two attributes with their types S, N or B, the partition "
                f"key first, such as {{'pk': 'S', 'sk': 'S'}}; got {self.keys!r}"
            )
        if self.unknown not in UNKNOWN:
            yield f"`unknown` must be one of {', '.join(UNKNOWN)}, got {self.unknown!r}"
        for name in ("expires_by", "actor_attribute"):
            attribute = getattr(self, name)
            if attribute is not None and not _is_text(attribute):
                yield f"`{name}` must be the name of an attribute, got {attribute!r}"
        if not _is_text(self.stack) or not _STACK.fullmatch(self.stack):
            yield (
                "`stack` must be `pipeline`, or `pipeline-` and a-z 0-9 -, at most 100 characters; "
                f"got {self.stack!r}"
            )
        if not _are(Entity, self.entities):
            yield (
                "`entities` must be a tuple of entities, (Entity(...),) with a comma for one; got "
                f"{self.entities!r}"
            )
        if not self.entities:
            yield "`entities` is empty: declare at least one"
        for entity in self.entities:
            yield from self._problems_of_keys(entity)
        if not self.further_sinks and not any(map(self.using, BUILT_IN)):
            yield (
                "no entity has a copy: give one `contributions`, `document` and `index`, "
                "audited=True, or `sinks`"
            )
        for one, other in combinations(self.entities, 2):
            if one.name == other.name:
                yield f"two entities are named {one.name!r}: rename one"
            elif self._overlap(one, other):
                yield (
                    f"a key can fit both entity {one.name!r} and entity {other.name!r}: give them "
                    "`keys` that exclude each other, such as starts_with('ORDER#') and "
                    "starts_with('CUSTOMER#')"
                )
        yield from self._problems_of_indexes()

    def _problems_of_keys(self, entity: Entity) -> Iterator[str]:
        for name in entity.keys:
            if name not in self.keys:
                yield (
                    f"entity {entity.name!r} has a pattern for {name!r}, which the table "
                    f"does not have as a key: its keys are {', '.join(self.keys)}"
                )
            elif self.keys[name] != "S":
                yield (
                    f"entity {entity.name!r} has a pattern for {name!r}, which is of type "
                    f"{self.keys[name]}: a pattern is for text (S); leave it out, any value fits"
                )

    def _overlap(self, one: Entity, other: Entity) -> bool:
        both = one.keys.keys() & other.keys.keys()
        return all(one.keys[name].overlaps(other.keys[name]) for name in both)

    def _problems_of_indexes(self) -> Iterator[str]:
        known: dict[str, Index] = {}
        for entity in self.entities:
            index = entity.index
            if index is not None and known.setdefault(index.name, index) != index:
                yield (
                    f"two indexes are named {index.name!r} and differ: share one `Index`, or give "
                    "each a name of its own"
                )

    @property
    def indexes(self) -> tuple[Index, ...]:
        """The search indexes of its entities, each once."""
        found = {e.index.name: e.index for e in self.entities if e.index is not None}
        return tuple(found.values())

    def using(self, sink: str) -> tuple[Entity, ...]:
        """Return the entities whose items a sink holds."""
        return tuple(entity for entity in self.entities if entity.uses(sink))

    @property
    def further_sinks(self) -> tuple[str, ...]:
        """The names of the sinks under `Entity.sinks`, each once."""
        return tuple(dict.fromkeys(name for entity in self.entities for name in entity.sinks))

    def entity_of(self, keys: Mapping[str, object]) -> Entity | None:
        """Return the entity of the item with these keys; None if it is of none.

        `keys` may be a whole image: other attributes are not looked at.
        """
        return next((entity for entity in self.entities if entity.owns(keys)), None)

    def source(self, epoch: str) -> Source:
        """Return the source of the table's changes."""
        return Source(self.name, epoch, actor_attribute=self.actor_attribute)


def tables_of(declared: object) -> tuple[Table, ...]:
    """Return the tables of `lambdas.domain.TABLES`.

    Raises:
        DeclarationError: it is something else.
    """
    if not isinstance(declared, Sequence) or not _are(Table, declared):
        message = (
            "TABLES must be a tuple of tables, (Table(...),) with a comma for one; got "
            f"{type(declared).__name__}"
        )
        raise DeclarationError(message)
    return tuple(declared)
