"""The envs of all members: rollouts, episodes, running statistics and evaluations, on the host or on a device."""
