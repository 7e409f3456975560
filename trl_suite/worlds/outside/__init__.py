"""Suites of other packages as envs: a table of ids, slots and goals, checked repairs, shifts."""
