"""Input and output without an orchestrator: sources, lake, registry, bundles, logs."""
