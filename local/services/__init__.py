"""Local services in place of AWS: the emulator, DynamoDB Local and OpenSearch, as processes."""
