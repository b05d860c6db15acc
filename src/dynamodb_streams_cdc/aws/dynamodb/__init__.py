"""The stores of the sinks on DynamoDB tables."""
