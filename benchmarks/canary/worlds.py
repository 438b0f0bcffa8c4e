"""Simulated weeks of traffic: the losses of two models on the same rows, and the cells to try."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MARGIN = 0.02
TRAFFIC = (500, 2_000, 8_000)
RATIOS = {"equal (A/A)": 1.0, "worse by the margin": 1.0 + MARGIN, "worse by 10%": 1.1,
          "better by 5%": 0.95}  # fmt: skip
Draw = Callable[[np.random.Generator, int, float], tuple[Floats, Floats]]


def log_losses(draw: np.random.Generator, n: int, own: float) -> tuple[Floats, Floats]:
    """Log losses of champion and challenger on the same n rows; `own` scales the latter's error."""
    truth = draw.normal(-1.3 + draw.normal(0, 0.3), 1.3, n)
    happened = draw.random(n) < _sigmoid(truth)
    shared = truth + draw.normal(0, 0.3, n)
    told = (shared + 0.7 * draw.standard_normal(n), shared + own * draw.standard_normal(n))
    signed = [np.where(happened, -logit, logit) for logit in told]
    return np.logaddexp(0, signed[0]), np.logaddexp(0, signed[1])


def squared_errors(draw: np.random.Generator, n: int, own: float) -> tuple[Floats, Floats]:
    """Squared errors on the same n rows, with noise of Student's t (6 degrees of freedom)."""
    noise = draw.standard_t(6, n) * math.exp(draw.normal(0, 0.2)) + draw.normal(0, 0.3, n)
    champion = noise + 0.7 * draw.standard_normal(n)
    return champion**2, (noise + own * draw.standard_normal(n)) ** 2


WORLDS: dict[str, Draw] = {"log loss": log_losses, "squared error": squared_errors}


@dataclass(frozen=True)
class Case:
    """One cell of the table: a loss, the rows of a week, how much the challenger loses."""

    loss: str
    rows: int
    challenger: str
    own: float
    champion_loss: float
    sticky: bool = False


def cases() -> list[Case]:
    """All cells; the challenger's own error is found such that its loss has the wanted ratio."""
    found = []
    for loss, world in WORLDS.items():
        base = _mean_losses(world, 0.7)[0]
        for name, ratio in RATIOS.items():
            own = 0.7 if ratio == 1 else _solve(world, ratio * base)
            found += [Case(loss, rows, name, own, base) for rows in TRAFFIC]
        found.append(Case(loss, 2_000, "equal (A/A)", 0.7, base, sticky=True))
    return found


def _mean_losses(world: Draw, own: float) -> tuple[float, float]:
    draw = np.random.default_rng(0)
    weeks = [world(draw, 2_000, own) for _ in range(200)]
    champion, challenger = (float(np.mean([week[place] for week in weeks])) for place in (0, 1))
    return champion, challenger


def _solve(world: Draw, wanted: float) -> float:
    low, high = 0.0, 3.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_losses(world, middle)[1] < wanted else (low, middle)
    return (low + high) / 2


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))
