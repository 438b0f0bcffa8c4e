"""Dagster components: a model's spec becomes its definitions."""

from mlops_assets.components.tabular_model import TabularModel

__all__ = ["TabularModel"]
