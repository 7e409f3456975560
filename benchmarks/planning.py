"""How much CPU it takes to plan a stream of 10,000 runs: to read its file, to list its runs, to group them in cohorts.

    python benchmarks/planning.py [--runs 10000] [--out planning.json]

Nothing is trained and nothing is written but the experiment's file, in a temporary folder.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trl_suite import provenance
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_keys import CohortPlanner, assignments
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.specification import experiment_file

METHODS = ("finetune", "l2sp", "ewc-online", "mas", "clonex", "packnet", "feature-extraction", "critic-warmup")
ENVS = ("half-cheetah", "half-cheetah.moon", "half-cheetah.rainfall", "half-cheetah.gravity-1.5")
STREAM = """question = "How long does planning take?"
methods  = {methods}
seeds    = {seeds}

[sequence]
envs  = {envs}
steps = 100_000
"""


def stream(folder: Path, runs: int) -> Path:
    """Write the file of a stream of about so many runs."""
    by_seed = len(ENVS) + len(METHODS) * (len(ENVS) - 1) + 1  # PackNet has a first stage of its own
    seeds = list(range(-(-runs // by_seed)))
    lists = {"methods": ["scratch", *METHODS], "seeds": seeds, "envs": list(ENVS)}
    folder.mkdir()
    text = STREAM.format(**{name: json.dumps(values) for name, values in lists.items()})
    (folder / "experiment.toml").write_text(text)
    return folder


def timed(seconds: dict[str, float], name: str, act: Callable[[], Any]) -> Any:
    """Return what is done, and note the seconds of CPU that it takes."""
    before = time.process_time()
    result = act()
    seconds[name] = round(time.process_time() - before, 3)
    return result


def main() -> None:
    """Print seconds of CPU by part, and their sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = stream(Path(folder) / "stream", arguments.runs)
        experiment = timed(seconds, "read", lambda: experiment_file.load(path))
        specs = timed(seconds, "list", lambda: grid.run_specs(experiment))
        planner = CohortPlanner(experiment, placement("local", experiment, 2), specs)
        timed(seconds, "group", lambda: assignments(specs, planner))
    facts = {
        "runs": len(specs),
        "seconds": seconds,
        "total": round(sum(seconds.values()), 3),
        "commit": provenance.commit(),
    }
    text = json.dumps(facts, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
