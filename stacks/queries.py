"""The saved Logs Insights queries of the runbook, for the logs of all functions.

Functions log JSON. Lines of the library have `level`, `message`, `requestId`, the fields of
`names.LogEvent` and, with an exception, `errorType`. Lambda's own lines have `type` and `record`.
The counts of each invocation are a line in the embedded metric format. `@log` names the log group,
and the log group names the processor.
"""

from collections.abc import Mapping

QUERIES: Mapping[str, str] = {
    "dead letters by reason": """\
filter event = "dead_letter"
| stats count_distinct(dead_letter) as dead_letters, min(@timestamp) as first_seen,
    max(@timestamp) as last_seen by @log, reason
| sort dead_letters desc
""",
    "one item": """\
# Replace ITEM with the item's identity, such as orders/S=00004/S=00004-0001, or a sequence number.
fields @timestamp, @log, level, message, errorType, errorMessage
| filter @message like "ITEM"
| sort @timestamp asc
""",
    "version order violation": """\
filter event = "version_order_violation"
| stats count(*) as times, max(@timestamp) as last_seen by @log, item
| sort last_seen desc
""",
    "not done": """\
filter event = "batch_reported"
| stats count(*) as invocations, max(reported) as records by bin(5m) as period, @log, error
| sort period desc
""",
    "processor errors": """\
filter event in ["breaker_open", "source_at_fault", "access_denied", "attempt_not_counted",
    "outcomes_missing", "refused_by_second"]
| stats count(*) as times, latest(message) as example, max(@timestamp) as last_seen by @log, event
| sort last_seen desc
""",
    "crashes": """\
filter ispresent(errorType) or record.status in ["error", "timeout", "failure"]
| fields coalesce(errorType, record.errorType, record.status) as kind
| stats count(*) as times, latest(errorMessage) as example, max(@timestamp) as last_seen
    by @log, kind
| sort times desc
""",
    "slowest invocations": """\
filter type = "platform.report"
| fields @timestamp, @log, record.requestId as request, record.status as status,
    record.metrics.durationMs as milliseconds, record.metrics.maxMemoryUsedMB as megabytes
| sort milliseconds desc
| limit 25
""",
    "counts": """\
filter ispresent(Received)
| stats sum(Received) as received, sum(Applied) as applied, sum(Stale) as stale,
    sum(VersionOrderViolations) as version_order_violations, sum(DeadLettered) as dead_letters,
    sum(Reported) as reported, sum(Repaired) as repaired by bin(5m) as period, Processor
| sort period desc
""",
}
"""Queries by name, in the query language of CloudWatch Logs Insights."""
