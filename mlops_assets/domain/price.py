"""The default price of a retrain, where the user names none.

A tenth of what the rows of a period lose on the first release's holdout, in units of loss times
rows: a retrain that takes a tenth off the loss of the first version has paid for itself after one
period, one that takes off one percent after ten. Everything in it is known at the first release, so
it is the same number ever after, in operation and in a backtest.
"""

from mlops_assets.domain.decay import LossSample

SHARE_OF_PERIOD = 0.1


def default_price(released: LossSample, periods: int) -> float:
    """Price of a retrain from the losses of the first release's holdout of so many periods."""
    return SHARE_OF_PERIOD * released.mean * released.rows / periods
