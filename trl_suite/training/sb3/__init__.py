"""The reference engine: Stable-Baselines3, one run at a time. Only here, and in `networks.zip`, is it imported."""
