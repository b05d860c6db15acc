"""The ports of the sinks on DynamoDB, S3 and OpenSearch. Needs the extras `aws` and `search`."""
