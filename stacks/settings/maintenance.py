"""Settings of the maintenance."""

from typing import Annotated

from pydantic import BaseModel, Field


class MaintenanceSettings(BaseModel):
    """Maintenance.

    Attributes:
        maintenance: The schedule that verifies copies and purges tombstones, and the state machine
            of `cdc ... --on aws`. Without it, their bucket stays as long as it has objects; `make
            destroy` of a sandbox deletes it. Example: `false`.
        verify_share: Part of the table and of the copies that is verified every hour, the next part
            each time: 0.5 covers all in 200 hours. 0.001 is the least. Unit: percent. Example:
            `1.0`.
    """

    maintenance: bool = True
    verify_share: Annotated[float, Field(ge=0.001, le=100)] = 0.5
