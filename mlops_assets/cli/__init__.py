"""The mlops command."""
