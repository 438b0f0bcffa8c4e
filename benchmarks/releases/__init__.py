"""`python -m benchmarks.releases`: what releases cost the clients that ask meanwhile.

One endpoint with its default settings, wrk at concurrency 16. Windows without a change are
compared with windows in the middle of which another version takes over. Then in pairs, in turns
without and with: a shadow that scores a copy of the traffic, and the prediction log. Limits: no
failed request, p99 during a swap at most twice that before, a shadow that costs at most 10% of
latency, a log that costs at most 10% of throughput.
"""
