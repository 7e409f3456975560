"""From an experiment file to finished run folders."""
