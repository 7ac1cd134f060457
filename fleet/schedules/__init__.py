"""Minimum replicas by the clock: windows between the times of two cron expressions in a time zone."""
