"""Making the runs: who makes which, the run's folder while it is made, and what one sees meanwhile."""
