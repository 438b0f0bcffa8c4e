"""A Dagster asset project that closes the loop for tabular models, and keeps it closed."""
