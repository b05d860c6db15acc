"""A document for each order, in OpenSearch."""
