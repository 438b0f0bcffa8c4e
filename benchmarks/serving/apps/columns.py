"""The columns of the benchmark's model, for processes that import nothing of the project."""

NUMBERS = tuple(f"number_{i:02d}" for i in range(12))
CATEGORIES = tuple(f"category_{i}" for i in range(8))
