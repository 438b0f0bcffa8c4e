"""What the model `regulars` computes of the past by a function of its own."""

from collections.abc import Mapping

import numpy as np


def fading_hours(
    times: np.ndarray, values: Mapping[str, np.ndarray], at: np.datetime64
) -> float | None:
    """Mean hours, of which those of a day earlier count half."""
    hours = values["hours"]
    known = ~np.isnan(hours)
    if not known.any():
        return None
    weights = 0.5 ** ((at - times[known]) / np.timedelta64(1, "D"))
    return float(np.average(hours[known], weights=weights))
