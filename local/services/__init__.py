"""The services that AWS would run: the emulator, DynamoDB Local and OpenSearch, as processes."""
