"""The tables of methods and policies, from definitions and cards: `python -m tools.site.method_pages`."""

import re
from collections.abc import Callable
from pathlib import Path

from trl_suite.mechanisms import methods
from trl_suite.mechanisms.normaliser_statistics import column
from trl_suite.networks import store
from trl_suite.networks.card import Card

ROOT = Path(__file__).parents[2]
METHODS, POLICIES = ROOT / "docs/methods.md", ROOT / "policies"
_BLOCK = re.compile(r"(<!-- (methods|policies): .*? -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def table() -> str:
    """Return the table of the suite's methods in Markdown."""
    rows = [
        f"| `{name}` | {method.summary} | {column(method)} | {method.log_std} | {methods.label(method)} |"
        for name, method in methods.shipped().items()
    ]
    head = ["| method | what it does | statistics | log_std | acts during training |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def policies(folder: Path = POLICIES) -> str:
    """Return the table of the shipped policies in Markdown: a line for each env, algorithm and budget."""
    groups: dict[tuple[str, str, int], list[Card]] = {}
    for path in sorted(folder.glob(f"*/{store.CARD}")):
        card = store.read_card(path.parent)
        groups.setdefault((card.training.env, card.algorithm, card.training.steps), []).append(card)
    rows = [
        f"| `{env}-{algorithm}-seed-{seeds(cards)}` | {steps:,} | {returns(cards)} |"
        for (env, algorithm, steps), cards in groups.items()
    ]
    return "\n".join(["| policies | env steps | return: mean (least to most) |", "|---|--:|--:|", *rows]) + "\n"


def seeds(cards: list[Card]) -> str:
    """Return the seeds of some policies: `0...9`."""
    numbers = sorted(card.training.seed for card in cards)
    return (
        f"{numbers[0]}...{numbers[-1]}"
        if numbers == list(range(numbers[0], numbers[-1] + 1))
        else ",".join(map(str, numbers))
    )


def returns(cards: list[Card]) -> str:
    """Return the policies' returns at the end of their training: `2,749 (1,594 to 4,642)`."""
    means = [value for card in cards if (value := card.training.return_mean) is not None]
    digits = 0 if max(map(abs, means), default=0.0) >= 100 else 1
    mean, low, high = (f"{value:,.{digits}f}" for value in (sum(means) / len(means), min(means), max(means)))
    return f"{mean} ({low} to {high})"


def page(text: str) -> str:
    """Return a page's text with its tables as they should be."""
    tables: dict[str, Callable[[], str]] = {"methods": table, "policies": policies}
    return _BLOCK.sub(lambda block: block[1] + tables[block[2]]() + block[3], text)


if __name__ == "__main__":
    for path in (METHODS, POLICIES / "README.md"):
        path.write_text(page(path.read_text()))
