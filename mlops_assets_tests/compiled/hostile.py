"""Gives the compiled modules thousands of broken inputs; run by test_compiled.py, in a process
of its own whose modules check every access to memory."""

import json
import random
import sys

import numpy as np

from mlops_assets.compiled import answer_rows, row_reader
from mlops_assets.compiled.quick_scorer import QuickScorer
from mlops_assets.domain.tree_scoring import MOST_LEAVES, TreeScorer
from mlops_assets_tests.domain.test_tree_scoring import FEATURES, VALUES, grown

INPUTS = [
    ("a", "number", True, ()),
    ("b", "integer", True, ()),
    ("c", "boolean", True, ()),
    ("d", "category", True, ("x", "café", "", "a longer one")),
]
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\0",
    b"null",
    b"nul",
    b"1e99",
    b"1e-400",
]
PIECES += [b"-", b"9" * 25, b"true", b"fals", b"\xff", b"}]}", b" ", b'"e":"\xc3']
BODIES = 25_000


def bodies(draw: random.Random) -> list[bytes]:
    """Good ones, of both forms; as many rows as make the reader take more memory."""
    rows = [
        {
            "a": draw.random() * 10.0 ** draw.randint(-30, 30),
            "b": draw.randint(-9, 9),
            "c": True,
            "d": draw.choice(["café", "x", "new", f"née {draw.random()}"]),
            "e": "é",
            "f": None,
        }
        for _ in range(70)
    ]
    forms = {"records": rows, "columns": {name: [row[name] for row in rows] for name in rows[0]}}
    return [
        json.dumps({"request_id": "r", form: content}, ensure_ascii=is_escaped).encode()
        for form, content in forms.items()
        for is_escaped in (False, True)
    ]


def broken(draw: random.Random, good: bytes) -> bytes:
    raw = bytearray(good)
    if draw.random() < 0.7:
        raw = raw[: draw.randint(1, 400)] + (b"}]}" if draw.random() < 0.5 else b"")
    for _ in range(draw.randint(0, 3)):
        place, kind = draw.randrange(len(raw)), draw.random()
        if kind < 0.4:
            raw[place] = draw.randrange(256)
        elif kind < 0.6:
            del raw[place : place + draw.randint(1, 6)]
        elif kind < 0.8:
            raw[place:place] = draw.choice(PIECES)
        else:
            start = draw.randrange(len(raw))
            raw[place:place] = raw[start : start + draw.randint(1, 30)]
        raw = raw or bytearray(b"x")
    return bytes(raw)


def read_rows(draw: random.Random) -> None:
    reader = row_reader.RowReader(INPUTS, ["e", "f"], 2**53)
    good = bodies(draw)
    for raw in good:
        if reader.read(raw) is None:
            raise SystemExit("a good body was not read")
        for end in range(len(raw)):
            reader.read(raw[:end])
    for _ in range(BODIES):
        reader.read(broken(draw, draw.choice(good)))


def put_answers(draw: random.Random) -> None:
    for _ in range(2000):
        rows, width = draw.randint(0, 30), draw.randint(1, 3)
        count = rows * width + draw.choice([0, 0, 0, -1, 1])
        numbers = ",".join(str(draw.random() * 10 ** draw.randint(-9, 9)) for _ in range(count))
        raw = f"[{numbers}]".encode()
        if draw.random() < 0.2:
            raw = broken(draw, raw)
        first = np.array([draw.choice([0, 1, 1, 2]) for _ in range(rows)], dtype=np.intp)
        try:
            answer_rows.answer_rows(
                b"{", raw, [b"a", b"", b"bb"], first, [b","] * (width - 1), b"}"
            )
        except (ValueError, IndexError):
            continue


def look_up() -> None:
    numbers = np.random.default_rng(1)
    for _ in range(60):
        leaves = numbers.integers(1, MOST_LEAVES + 1, 6)
        trees = [grown(numbers, int(count), VALUES[1:]) for count in leaves]
        scorer = TreeScorer(trees, [0, 1, 0, 1, 2, 2], bool(numbers.integers(2)), QuickScorer)
        odd = [*VALUES, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45]
        rows = int(numbers.integers(0, 200))
        scorer.sums(numbers.choice(odd, (rows, FEATURES)).astype(np.float32))


if __name__ == "__main__":
    draw = random.Random(1)
    read_rows(draw)
    put_answers(draw)
    look_up()
    sys.stdout.write(row_reader.__file__)
