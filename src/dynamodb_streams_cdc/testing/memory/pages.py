"""The next names of a walk."""

from collections.abc import Mapping
from zlib import crc32

from dynamodb_streams_cdc.sinks.comparison import Place, Segment


def next_names(
    rows: Mapping[str, object], segment: Segment, place: Place | None, most: int
) -> tuple[list[str], Place | None]:
    """Return the next names of a segment, and where to go on."""
    left = [
        name
        for name in sorted(rows)
        if crc32(name.encode()) % segment.of == segment.number and (place is None or name > place)
    ]
    return left[:most], left[most - 1] if len(left) > most else None
