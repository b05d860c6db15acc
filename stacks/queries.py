"""What to ask the logs of all processors, as the runbook does.

Functions log JSON. Lines of the library have `level`, `message`, `requestId` and, with an
exception, `errorType`; Lambda's own have `type` and `record`; the counts of each invocation are a
line in the embedded metric format. `@log` names the log group, and that names the processor.
"""

from collections.abc import Mapping

QUERIES: Mapping[str, str] = {
    "dead letters by reason": """\
filter message like "dead letter "
| parse message /dead letter (?<key>\\S+): (?<reason>\\S+)$/
| stats count_distinct(key) as dead_letters, min(@timestamp) as first_seen,
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
filter message like "version order violation: "
| stats count(*) as times, max(@timestamp) as last_seen by @log, item
| sort last_seen desc
""",
    "not done": """\
filter message like "records are not done"
| parse message /(?<left>\\d+) of (?<received>\\d+) records are not done, .*?: (?<error>\\w+)\\(/
| stats count(*) as invocations, max(left) as records by bin(5m) as period, @log, error
| sort period desc
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
"""Name and text of each, in the query language of CloudWatch Logs Insights."""
