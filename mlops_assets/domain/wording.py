"""Words that go with numbers in what people read."""


def counted(number: int, noun: str = "period") -> str:
    """A number with its noun: "1 period", "2 periods"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
