"""`trl-suite policies`: what has been learned, shipped or in the workspace."""

from pathlib import Path
from typing import Any

from rich.table import Table

from trl_suite import content
from trl_suite.cli.arguments import Policies
from trl_suite.errors import InputError
from trl_suite.networks import store
from trl_suite.terminal import Terminal, print_json

_POLICY_COLUMNS = ("name", "env", "by", "steps", "return")  # what fits into 80 columns; --json tells more


def execute(arguments: Policies) -> int:
    """Print a line for every policy; return the exit code."""
    rows = {name: _row(content.find("policies", name)) for name in content.names("policies")}
    if arguments.json:
        print_json(rows)
        return 0
    console, table = Terminal(), Table(*_POLICY_COLUMNS, box=None)
    table.columns[0].no_wrap, table.columns[0].min_width = True, max(map(len, rows), default=0)  # names are typed again
    table.columns[1].overflow = "fold"
    for column in table.columns[3:]:
        column.justify = "right"
    for name, row in rows.items():
        table.add_row(name, *_shown(row))
    if rows:
        console.print(table, highlight=False)
    else:
        console.print("none yet: trl-suite train half-cheetah makes one", highlight=False)
    return 0


def _row(folder: Path) -> dict[str, Any]:
    """Return a policy's line; one that cannot be read keeps its place and says why."""
    try:
        card = store.read_card(folder)
        size = (folder / store.WEIGHTS).stat().st_size
    except (InputError, OSError) as error:
        return {"error": str(error)}
    training = card.training
    return {
        "env": training.env,
        "algorithm": card.algorithm,
        "steps": training.steps,
        "return": training.return_mean,
        "bytes": size,
        "folder": str(folder),
    }


def _shown(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["error"]]
    value = "" if row["return"] is None else f"{row['return']:,.1f}"
    return [row["env"], row["algorithm"], f"{row['steps']:,}", value]
