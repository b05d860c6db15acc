"""Operate a deployed pipeline: list dead letters, redrive, repair. Never packaged for Lambda."""
