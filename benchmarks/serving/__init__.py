"""How fast models are served, by us and by others: `python -m benchmarks.serving`.

Each server is started alone on the loopback interface with the same fitted pipeline, asked the
same rows by the same load tool (wrk), and stopped. One module per server is in `servers`; what
runs inside of a peer's own environment is in `apps`.
"""
