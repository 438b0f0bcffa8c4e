"""Which retraining policies pay, on real histories: `python -m benchmarks.decisions --help`."""
