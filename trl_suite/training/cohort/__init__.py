"""Runs that train together in one program: stacked networks, one batched product for all members."""
