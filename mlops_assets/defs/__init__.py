"""One folder per model, each with a defs.yaml."""
