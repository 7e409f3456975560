"""From `experiment.toml` to run folders.

`specification` reads the file, `planning` makes runs and cohorts of it, `running` trains them, in one of the `places`;
`reuse` takes or repeats runs that exist, `measuring` looks at policies beside their training.
"""
