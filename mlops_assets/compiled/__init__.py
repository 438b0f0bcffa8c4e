"""What is written in Cython, because it is done for every value of every request.

Each module does what a module in Python does as well, and gives the same. Where one is not there,
because no C compiler was when the project was installed, that one answers, more slowly.
"""

from importlib.util import find_spec

MODULES = ("answer_rows", "quick_scorer", "row_reader")


def missing() -> list[str]:
    """The modules that were not built."""
    return [name for name in MODULES if find_spec(f"{__name__}.{name}") is None]


def warning() -> str:
    """What to tell whoever runs the endpoint; nothing where all is built."""
    names = ", ".join(missing())
    if not names:
        return ""
    return (
        f"Not compiled: {names}. Requests of many rows take twice as long: install "
        "a C compiler and Python's headers (Debian: apt-get install gcc python3-dev), then the "
        "project again."
    )
