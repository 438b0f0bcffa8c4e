"""Thin Dagster jobs, schedules and sensors."""
