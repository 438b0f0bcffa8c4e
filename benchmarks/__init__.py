"""Measurements of this project against its peers; nothing here is installed with the package."""
