"""How often a canary is wrong, and how long it takes to be right, when it is looked at every week.

    python -m benchmarks.canary [--json FILE] [--runs 200] [--processes 2]

Simulated weeks of traffic with labels: the log loss of a classifier and the squared error of a
regression with heavy tails, weeks that differ in difficulty, two models whose errors are partly
their own. The challenger's share follows `domain.canary`, the verdicts are `domain.sequential`'s:
on the losses as they are, and on those less the champion's on the same row (paired, as the loop
does it). Beside them, in the same weeks, what is usual: the z-interval at 95%, looked at every
week, of the rows of all weeks in one pool (z-test) or of each week by itself like ours (z-weekly).

Two things would be false promotions, and each is counted: a challenger that is as good as the
champion called *better* (A/A traffic), and one that is worse by the margin or more *promoted*. An
equally good challenger that is promoted is no mistake: it is within the margin.
"""
