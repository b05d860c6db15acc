"""What looks after the pipeline on a schedule: the canary, and the dead letters that wait."""
