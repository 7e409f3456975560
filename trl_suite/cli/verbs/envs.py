"""`trl-suite envs`: robots and their variants."""

import textwrap
from typing import Any

from trl_suite import content
from trl_suite.cli.arguments import Envs
from trl_suite.errors import printable, unknown
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.registration import gymnasium_id

INDENT = "  "


def execute(arguments: Envs) -> int:
    """Print every env with its Gymnasium id and variants, or one with its slots too; return the exit code."""
    names = content.names("envs")
    if arguments.env and arguments.env not in names:
        raise unknown("env", arguments.env, names)
    specs = {name: load(name) for name in ([arguments.env] if arguments.env else names)}
    if arguments.json:
        print_json({name: _as_table(name, spec) for name, spec in specs.items()})
        return 0
    console = Terminal()
    for name, spec in specs.items():
        console.print(f"{name}  {gymnasium_id(name, spec)}", style="bold", highlight=False, soft_wrap=True)
        lines = _detailed(spec) if arguments.env else [", ".join(spec.variants) or "no variants"]
        for line in lines:
            console.print(wrapped(line, console.width), highlight=False, soft_wrap=True)
    return 0


def wrapped(line: str, width: int) -> str:
    """Return a line indented and wrapped between words; a name is never broken, even where it is too long."""
    return textwrap.fill(
        printable(line), max(width, 20), initial_indent=INDENT, subsequent_indent=INDENT,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _as_table(name: str, spec: EnvSpec) -> dict[str, Any]:
    return {"id": gymnasium_id(name, spec), "variants": sorted(spec.variants)}


def _detailed(spec: EnvSpec) -> list[str]:
    """Return the lines about one env: model, reward terms, and one per variant."""
    terms = ", ".join(term.label for term in spec.reward)
    variants = [f"{name}: {variant.about}" if variant.about else name for name, variant in spec.variants.items()]
    return [f"model: {spec.model}", f"reward: {terms}", f"{len(variants)} variants:", *variants]
