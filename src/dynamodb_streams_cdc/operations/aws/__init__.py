"""S3, SQS and Lambda for `operations`. Needs the extra `aws`."""
