"""Pages of the site that are written from tables: one per algorithm, and what the results say of each method."""

import csv
import re
from collections import Counter
from pathlib import Path

import msgspec

from tools.site import paper_pages
from trl_suite.algorithms.registry import DESCRIPTORS

ROOT = Path(__file__).parents[2]
_CLAIMS = ("better", "worse", "not shown", "too few")


def page(name: str) -> str:
    """Return the page of one algorithm: its engines, its components, its hyperparameters, and its presets."""
    descriptor = DESCRIPTORS[name]
    cohort = "yes" if descriptor.cohort_update else f"no: {descriptor.no_cohort}"
    facts = {
        "kind": "on-policy" if descriptor.on_policy else "off-policy, with a replay buffer",
        "on Stable-Baselines3": f"`{descriptor.sb3_class.rpartition('.')[2]}`"
        + (f", with `pip install trl-suite[{descriptor.sb3_extra}]`" if descriptor.sb3_extra else ""),
        "in cohorts": cohort,
        "paper": f"{paper_pages.cited(descriptor.paper)} ([all papers](../reference/papers.md))",
    }
    lines = [f"# {name}", "", *(f"- {what}: {fact}" for what, fact in facts.items())]
    return "\n".join(
        [*lines, "", "## Hyperparameters", "", *_defaults(name), "", "## Presets", "", *_presets(name), ""]
    )


def _defaults(name: str) -> list[str]:
    fields = msgspec.structs.fields(DESCRIPTORS[name].hyperparameters)
    rows = [f"| `{field.name}` | `{field.default if field.default is not msgspec.NODEFAULT else '...'}` |" for field in
            fields]  # fmt: skip
    return [f"Keys of `[{name}]` in an experiment.", "", "| key | default |", "|---|---|", *rows]


def _presets(name: str) -> list[str]:
    """Return the tables of the robots that have tuned values, as they stand in their files."""
    parts: list[str] = []
    for path in sorted((ROOT / "envs").glob("*/training.toml")):
        text = path.read_text(encoding="utf-8")
        tables = [part for part in re.split(r"^(?=\[)", text, flags=re.MULTILINE) if re.match(rf"\[{name}[\].]", part)]
        if tables:
            parts += [f"[{path.parent.name}](../envs/{path.parent.name}/README.md):", "", "```toml"]
            parts += ["".join(tables).strip(), "```", ""]
    return parts or ['No robot has one; experiments use the values above, and `preset = "sb3"` those of SB3.']


def evidence(method: str) -> str:
    """Return where a method gained and where not: a line for each experiment whose summary has it, from its claims."""
    rows: list[str] = []
    for path in sorted((ROOT / "experiments").glob("*/results/summary.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            claims = {row["env"]: row.get("area_claim", "") for row in csv.DictReader(file) if row["method"] == method}
        counts = Counter(claim for claim in claims.values() if claim in _CLAIMS)
        if counts:
            name = path.parents[1].name
            cells = " | ".join(str(counts[claim]) for claim in _CLAIMS)
            rows.append(f"| [{name}](../experiments/{name}/README.md) | {cells} |")
    if not rows:
        return "No experiment of this repository has it.\n"
    head = ["| experiment | better | worse | not shown | too few pairs |", "|---|--:|--:|--:|--:|"]
    return "\n".join(["Targets by what is claimed of the gain over scratch.", "", *head, *rows, ""])
