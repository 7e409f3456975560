"""`trl-suite schema`: the JSON schema of a table, for editors."""

from trl_suite.cli.arguments import Schema
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.table_schema import schema_of
from trl_suite.terminal import print_json
from trl_suite.worlds.env_schema import env_schema


def execute(arguments: Schema) -> int:
    """Print the schema, which is JSON with or without --json, and return the exit code."""
    is_env = arguments.table == "env"
    print_json(env_schema() if is_env else schema_of(Experiment, "experiment.toml of trl_suite"))
    return 0
