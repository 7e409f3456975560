"""Transfer reinforcement learning on robots."""
