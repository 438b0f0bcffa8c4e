"""Pure Python: values in, values out; no orchestrator, no I/O, no clock."""
