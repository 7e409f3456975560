"""The reference engine: Stable-Baselines3, one run at a time. It is imported only here and in `networks.zip_export`."""
