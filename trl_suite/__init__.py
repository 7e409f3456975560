"""Transfer reinforcement learning on robots."""

from trl_suite.worlds.registration import register

register()
