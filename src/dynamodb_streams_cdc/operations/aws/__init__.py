"""The ports of `operations` on S3, SQS and Lambda. Needs the extra `aws`."""
