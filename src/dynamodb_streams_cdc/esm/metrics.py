"""Metrics of an event source mapping.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Metrics:
    """Counts since the engine began; the names in CloudWatch are those of `as_dict`.

    Attributes:
        polled: records read.
        filtered_out: records that no filter let through.
        invoked: records sent to the function, each time again.
        failed_invoke: records of invocations that did not happen, failed, or reported failures.
        dropped: records given up and lost; neither those that reached the destination nor those
            that the stream forgot.
        on_failure_delivered: records reported to the destination.
        delivery_failures: documents that the destination did not take.
        iterator_age: milliseconds; how old the last record of the latest batch was when it was
            sent. None before the first.
        trimmed: records that the stream forgot before they were done. AWS publishes no such count.
    """

    polled: int = 0
    filtered_out: int = 0
    invoked: int = 0
    failed_invoke: int = 0
    dropped: int = 0
    on_failure_delivered: int = 0
    delivery_failures: int = 0
    iterator_age: float | None = None
    trimmed: int = 0

    def as_dict(self) -> dict[str, float | None]:
        """Return the metrics under the names that AWS gives them."""
        return {
            "PolledEventCount": self.polled,
            "FilteredOutEventCount": self.filtered_out,
            "InvokedEventCount": self.invoked,
            "FailedInvokeEventCount": self.failed_invoke,
            "DroppedEventCount": self.dropped,
            "OnFailureDestinationDeliveredEventCount": self.on_failure_delivered,
            "DestinationDeliveryFailures": self.delivery_failures,
            "IteratorAge": self.iterator_age,
        }
