"""Operate a deployed pipeline: verify, repair, backfill, rebuild, redrive, erase.

In Lambda, the maintenance function alone runs it.
"""
