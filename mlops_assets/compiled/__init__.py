"""What is written in Cython, because it is done for every value of every request.

Each module does what a module in Python does as well, and gives the same. Where one is not there,
because no C compiler was when the project was installed, that one answers, more slowly.
"""

from importlib.util import find_spec

MODULES = ("answer_rows", "quick_scorer", "row_reader")


def missing() -> list[str]:
    """The modules that were not built."""
    return [name for name in MODULES if find_spec(f"{__name__}.{name}") is None]
