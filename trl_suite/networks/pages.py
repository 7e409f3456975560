"""The table of methods in the README, written from their definitions: `python -m trl_suite.networks.pages`."""

import re
from pathlib import Path

import msgspec

from trl_suite.networks import methods
from trl_suite.networks.methods import Method

README = Path(__file__).parents[2] / "README.md"
_BETWEEN = re.compile(r"(<!-- methods: .*? -->\n).*?(<!-- /methods -->)", re.DOTALL)


def table() -> str:
    """Return the table of the suite's methods in Markdown."""
    rows = [f"| `{name}` | {method.summary} | {_during(method)} |" for name, method in methods.shipped().items()]
    return "\n".join(["| method | what it does | acts during training |", "|---|---|---|", *rows]) + "\n"


def page(text: str) -> str:
    """Return the README's text with the table as it should be."""
    return _BETWEEN.sub(lambda found: found[1] + table() + found[2], text)


def _during(method: Method) -> str:
    kind = msgspec.to_builtins(method.adapter)["kind"] if method.adapter else ""
    acts: dict[str, object] = {
        "thaws": method.thaw,
        "scales rates": method.rate,
        "pulls weights": method.weights,
        "pulls actions": method.behaviour,
        "guides": method.guide,
        "starts earlier": method.head_start,
        f"adapts ({kind})": kind,
    }
    return ", ".join(name for name, active in acts.items() if active)


if __name__ == "__main__":
    README.write_text(page(README.read_text()))
