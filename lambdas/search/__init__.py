"""A document for each item, in OpenSearch."""
