"""`experiment.toml`: its keys, their ranges, and what cannot be meant."""
