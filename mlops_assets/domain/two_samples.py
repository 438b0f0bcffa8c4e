"""Tests whether two samples come from the same source; each takes both as uncertain."""

import numpy as np
from numpy.typing import NDArray


def kolmogorov_smirnov(
    quantiles: NDArray[np.float64], present: int, values: NDArray[np.float64]
) -> tuple[float, float]:
    """Distance and asymptotic p-value, conservative under ties.

    The first sample of `present` values is known by its evenly spaced quantiles.
    """
    from scipy.special import kolmogorov

    ordered = np.sort(values)
    at = np.union1d(quantiles, ordered)
    below = np.searchsorted(ordered, at, side="right") / len(ordered)
    # i of the evenly spaced quantiles lie at or below x: F(x) is in [i - 1, i) / 1000.
    passed = np.searchsorted(quantiles, at, side="right")
    expected = np.clip((passed - 0.5) / (len(quantiles) - 1), 0, 1)
    distance = float(np.abs(below - expected).max())
    size = len(ordered) * present / (len(ordered) + present)
    return distance, float(kolmogorov(np.sqrt(size) * distance))


def chi_square(table: NDArray[np.float64]) -> tuple[float, float]:
    """Statistic and p-value of counts (2, cells) of two samples."""
    from scipy.special import chdtrc

    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))


def two_shares(a: int, rows_a: int, b: int, rows_b: int) -> tuple[float, float]:
    """z of a / rows_a against b / rows_b, and Fisher's exact p-value, twice the smaller tail.

    Exact, because limits shared among many tests are so small that a normal approximation is
    wrong by a factor of ten even where 5 cases are expected.
    """
    pooled = (a + b) / (rows_a + rows_b)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / rows_a + 1 / rows_b))
    z = float((b / rows_b - a / rows_a) / spread) if spread else 0.0
    # Counted in the smaller sample there are the fewest terms.
    if rows_a < rows_b:
        a, rows_a, b, rows_b = b, rows_b, a, rows_a
    return z, min(1.0, 2 * _hypergeometric_tail(b, rows_b, a + b, rows_a + rows_b))


def _hypergeometric_tail(x: int, draws: int, cases: int, total: int) -> float:
    """P(X <= x) or P(X >= x), whichever side of the mean x is, of the cases among the draws."""
    mean = draws * cases / total
    reach = int(40 * np.sqrt(mean + 1)) + 40
    if x >= mean:
        terms = np.arange(x, min(x + reach, draws, cases) + 1)
    else:
        terms = np.arange(max(x - reach, 0, draws + cases - total), x + 1)
    logs = (
        _log_choose(cases, terms)
        + _log_choose(total - cases, draws - terms)
        - _log_choose(total, np.array([draws]))
    )
    return float(np.exp(logs).sum())


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.special import gammaln

    logs: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logs


def unseen(once: int, twice: int, rows: int, new: int, new_rows: int) -> tuple[float, float]:
    """Whether `new` of `new_rows` rows have levels that a reference of `rows` rows lacks by chance.

    As many as rows whose level the reference saw once are to be expected (Good 1953), with the
    standard error of Esty (1983). z and the p-value, the larger of the normal one and the exact
    one of two shares: the first knows that a rare level brings several rows, the second holds
    for few. Fewer new levels than expected are no sign of anything: p = 1.
    """
    from scipy.special import ndtr

    missed, share = once / rows, new / new_rows
    variance = (missed * (1 - missed) + 2 * twice / rows) / rows + share * (1 - share) / new_rows
    z = (share - missed) / np.sqrt(variance) if variance else 0.0
    if share <= missed:
        return float(z), 1.0
    exact = two_shares(once, rows, new, new_rows)[1]
    return float(z), max(exact, 0.0 if not variance else float(2 * ndtr(-z)))


def outside_range(rows: int, outside: int, new_rows: int) -> float:
    """P-value of `outside` of `new_rows` values beyond the least and greatest of `rows` others.

    Whatever the distribution, the count is beta-binomial (exceedances: Gumbel and von Schelling
    1950; Wilks 1941), so a few extremes are expected and cost nothing; ties make the test
    conservative. The tail is that of at most one of the reference's values among the
    `outside` + 1 greatest of all, because all gaps between them are alike.
    """
    if not outside:
        return 1.0
    total, top = rows + new_rows, outside + 1
    logs = [np.log(rows) + _log_choose(new_rows, np.array([outside]))]
    if top <= new_rows:
        logs.append(_log_choose(new_rows, np.array([top])))
    return min(1.0, float(np.exp(np.array(logs) - _log_choose(total, np.array([top]))).sum()))
