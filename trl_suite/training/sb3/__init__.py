"""The reference engine: Stable-Baselines3, one run at a time. An export imports it too, and nothing else."""
