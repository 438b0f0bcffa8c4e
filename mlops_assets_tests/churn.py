"""A table that the project has never seen: customers, once a week, and whether they left."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

CUSTOMERS = 150
FIRST_MONDAY = datetime(2026, 5, 4, tzinfo=UTC)
NOW = datetime(2026, 10, 1, tzinfo=UTC)


def churn(weeks: int = 12, customers: int = CUSTOMERS, seed: int = 3) -> pd.DataFrame:
    """Rows in order of time, with all that a real table has too many of.

    `refund` and `reason` are known only when a customer has left; `plan_name` repeats `plan`.
    """
    draw = np.random.default_rng(seed)
    n = weeks * customers
    week = np.repeat(np.arange(weeks), customers)
    minute = draw.integers(0, 7 * 24 * 60, n)
    at = pd.Timestamp(FIRST_MONDAY) + pd.to_timedelta(week * 7 * 24 * 60 + minute, unit="min")
    number = np.tile(np.arange(customers), weeks)
    plan = np.array(["basic", "plus", "premium"])[number % 3]
    usage, tickets = draw.gamma(2, 10, n).round(2), draw.poisson(1 + (plan == "basic") * 0.8, n)
    odds = -1.2 - 0.06 * usage + 0.8 * tickets + 0.9 * (plan == "basic")
    left = draw.random(n) < 1 / (1 + np.exp(-odds))
    frame = pd.DataFrame(
        {
            "customer_id": number + 1000,
            "snapshot_at": at,
            "age": pd.array(np.where(draw.random(n) < 0.05, pd.NA, 20 + number * 7 % 50), "Int64"),
            "plan": plan,
            "plan_name": plan,
            "usage_hours": usage,
            "tickets": tickets,
            "country": "CH",
            "note": [f"note {value} of an agent" for value in draw.integers(0, 10**9, n)],
            "refund": np.where(left, draw.uniform(5, 50, n).round(2), 0.0),
            "decided_at": at + pd.Timedelta(days=2),
            "left": np.where(left, "yes", "no"),
        }
    )
    return frame.sort_values("snapshot_at", kind="stable").reset_index(drop=True)


def write_csv(frame: pd.DataFrame, path: object, **options: object) -> None:
    """As a CSV file with ISO 8601 times."""
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S", **options)  # type: ignore[call-overload]
