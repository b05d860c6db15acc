"""Settings of the audit function."""

from lambdas.settings import Name, Settings


class AuditSettings(Settings):
    """Variables of the audit function.

    Attributes:
        source_table_name: Name of the source table, for verification and backfill.
        large_images_bucket: S3 bucket for images that are too large for an entry.
        change_log_table: Name of the table with the change log.
    """

    source_table_name: Name
    large_images_bucket: Name
    change_log_table: Name
