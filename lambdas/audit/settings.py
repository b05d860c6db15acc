"""Settings of the audit function."""

from lambdas.settings import Name, Settings


class AuditSettings(Settings):
    """The table of the change log."""

    change_log_table: Name
