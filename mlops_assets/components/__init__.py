"""Dagster components: a model's spec becomes its definitions."""
