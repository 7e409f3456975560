"""The table of tuned presets on the page of experiments: what each was measured at, beside the aim that was set."""

import tomllib
from pathlib import Path
from typing import Any

from trl_suite.evidence.results.number_format import number

AIMS = {  # mean return of PPO after a million steps, as it was set from published values before any search
    "half-cheetah": 5_800, "hopper": 2_400, "walker2d": 3_500, "swimmer": 300, "ant": 2_500, "reacher": -5,
}  # fmt: skip


def table(envs: Path) -> str:
    """Return a line for each robot's algorithm that has a measured preset."""
    columns = ["robot", "algorithm", "return, ten seeds", "steps", "aim after a million", "measured by"]
    lines = [f"| {' | '.join(columns)} |", "|---|---|--:|--:|--:|---|"]
    for path in sorted(envs.glob("*/training.toml")):
        for algorithm, preset in tomllib.loads(path.read_text()).items():
            lines.append(_line(path.parent.name, algorithm, preset["measured"]))
    return "\n".join(lines)


def _line(robot: str, algorithm: str, measured: dict[str, Any]) -> str:
    low, high = measured["interval"]
    reached = f"{number(measured['mean'])} [{number(low)}, {number(high)}]"
    aim = number(AIMS[robot]) if algorithm == "ppo" and robot in AIMS else ""
    name = measured["experiment"]
    return f"| {robot} | {algorithm.upper()} | {reached} | {measured['steps']:,} | {aim} | [{name}]({name}/README.md) |"
