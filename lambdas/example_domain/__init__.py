"""The example domain: one table with the orders and the customers of a shop.

Tests, benchmarks and pages use it, so leave it as it is: your own goes to lambdas/domain.
"""

from dynamodb_streams_cdc.entities import Entity, Table, anything_but, exactly
from lambdas.example_domain import customer, order

TABLES: tuple[Table, ...] = (
    Table(
        "orders",
        keys={"customer_id": "S", "order_id": "S"},
        expires_by="expires_at",
        actor_attribute="updated_by",
        entities=(
            Entity(
                "order",
                keys={"order_id": anything_but(customer.PROFILE)},
                contributions=order.contributions,
                document=order.document,
                index=order.INDEX,
            ),
            Entity(
                "customer",
                keys={"order_id": exactly(customer.PROFILE)},
                contributions=customer.contributions,
                document=customer.document,
                index=customer.INDEX,
            ),
        ),
    ),
)
"""The source tables. Sums cover the items in the table: an item that expires leaves them. Use
`expiry=Expiry.KEEP` to keep expired items in the sums."""
