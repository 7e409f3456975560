"""Updates of all members: a file for each algorithm, and what on-policy and off-policy ones share."""
