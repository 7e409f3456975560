"""From run folders and archives to curves on one grid; every oddity is noted, nothing is dropped silently."""
