"""The ports of the sinks in memory: for simulations, and for tests that need no server.

They keep the contracts of the real ones; one suite of tests runs against both.
"""

from dynamodb_streams_cdc.testing.memory.dead_letters import MemoryDeadLetters as MemoryDeadLetters
from dynamodb_streams_cdc.testing.memory.dead_letters import (
    MemoryDeadLetterStore as MemoryDeadLetterStore,
)
from dynamodb_streams_cdc.testing.memory.erasure import (
    MemoryErasureRecords as MemoryErasureRecords,
)
from dynamodb_streams_cdc.testing.memory.erasure import MemoryMarkers as MemoryMarkers
from dynamodb_streams_cdc.testing.memory.erasure import MemoryObjects as MemoryObjects
from dynamodb_streams_cdc.testing.memory.index import MemoryIndex as MemoryIndex
from dynamodb_streams_cdc.testing.memory.ledger import DIGITS as DIGITS
from dynamodb_streams_cdc.testing.memory.ledger import MemoryLedger as MemoryLedger
from dynamodb_streams_cdc.testing.memory.log import MemoryImageStore as MemoryImageStore
from dynamodb_streams_cdc.testing.memory.log import MemoryLog as MemoryLog
from dynamodb_streams_cdc.testing.memory.markers import MemoryAttempts as MemoryAttempts
from dynamodb_streams_cdc.testing.memory.markers import (
    MemoryIdempotencyStore as MemoryIdempotencyStore,
)
from dynamodb_streams_cdc.testing.memory.markers import MemoryNotes as MemoryNotes
