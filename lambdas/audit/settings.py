"""Settings of the audit function."""

from lambdas.settings import Name, Settings


class AuditSettings(Settings):
    """The change log's table, and the bucket of images that are too large for it."""

    change_log_table: Name
    large_images_bucket: Name
