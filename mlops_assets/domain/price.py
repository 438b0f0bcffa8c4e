"""The default price of a retrain, where the user names none.

A tenth of what all rows of a period lose, in units of loss times rows: a retrain that takes a
tenth off the loss of the first version has paid for itself after one period, one that takes off
one percent after ten.
"""

SHARE_OF_PERIOD = 0.1


def default_price(loss: float, rows_per_period: float) -> float:
    """Price of a retrain from the first version's holdout loss and the mean rows of a period."""
    return SHARE_OF_PERIOD * loss * rows_per_period
