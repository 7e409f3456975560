"""`trl-suite match`: which slots and components of a policy would be copied into an env, before any training."""

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trl_suite.cli import picture
from trl_suite.cli.arguments import Match, aliases
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.preview import Preview, preview
from trl_suite.training.policy_import import load_policy, spaces_of


def execute(arguments: Match) -> int:
    """Print both tables, draw the picture if one is asked for, and return the exit code."""
    if arguments.out:
        picture.check(arguments.out)
    policy, target = load_policy(arguments.policy), spaces_of(arguments.env)
    method = methods.find(arguments.method)
    seen = preview(policy, target.interface, arguments.method, method, aliases(arguments.alias))
    if arguments.out:
        picture.draw(arguments.out, policy.interface, seen, (policy.card.training.env, arguments.env))
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(seen), indent=2).decode())
        return 0
    console = Console(markup=False)  # what a card says is text
    console.print(_slots(seen), highlight=False)
    console.print(_parts(seen), highlight=False)
    for line in _rest(seen):
        console.print(line, highlight=False, soft_wrap=True)
    if arguments.out:
        console.print(f"picture: {arguments.out}", highlight=False, soft_wrap=True)
    return 0


def _slots(seen: Preview) -> Table:
    table = Table("", "target", "unit", "source", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    before = ""
    for match in seen.slots:
        source = Text("none", style="yellow") if match.source is None else match.source
        table.add_row(match.kind if match.kind != before else "", match.slot, match.unit, source)
        before = match.kind
    return table


def _parts(seen: Preview) -> Table:
    table = Table("component", "shape", seen.method, "of its slots", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for part in seen.parts:
        fate = f"{part.fate}, frozen" if part.frozen else part.fate
        shapes = ", ".join("x".join(map(str, shape)) or "1" for shape in part.shapes.values())
        table.add_row(part.name, shapes, fate, part.matched or ("all" if part.fate == "copied" else ""))
    return table


def _rest(seen: Preview) -> list[str]:
    unmatched = [match.slot for match in seen.slots if match.source is None]
    lines = {"not in the source": unmatched, "unused of the source": seen.unused, "left over": seen.left_over}
    return [f"{label}: {', '.join(names)}" for label, names in lines.items() if names]
