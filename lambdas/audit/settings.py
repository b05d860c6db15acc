"""Settings of the audit function."""

from lambdas.settings import Name, Settings


class AuditSettings(Settings):
    """Variables of the audit function.

    Attributes:
        large_images_bucket: S3 bucket for images that are too large for an entry.
        source_table_name: Name of the source table, for verification and backfill.
        change_log_table: Name of the table with the change log.
    """

    large_images_bucket: Name
    source_table_name: Name
    change_log_table: Name
