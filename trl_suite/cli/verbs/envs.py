"""`trl-suite envs`: robots and their variants."""

import json

from rich.console import Console
from rich.table import Table

from trl_suite import content
from trl_suite.cli.arguments import Envs
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.registration import gymnasium_id


def execute(arguments: Envs) -> int:
    """Print every env with its Gymnasium id and variants; return the exit code."""
    specs = {name: load(name) for name in content.names("envs")}
    if arguments.json:
        table = {
            name: {"id": gymnasium_id(name, spec), "variants": sorted(spec.variants)} for name, spec in specs.items()
        }
        print(json.dumps(table, indent=2))
        return 0
    printed_table = Table(box=None)
    for column in ("env", "gymnasium id", "variants"):
        printed_table.add_column(column, no_wrap=column != "variants", overflow="fold")
    for name, spec in specs.items():
        printed_table.add_row(name, gymnasium_id(name, spec), ", ".join(spec.variants))
    Console().print(printed_table, highlight=False)
    return 0
