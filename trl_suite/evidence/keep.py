"""What of an experiment's folder is worth committing: all that its numbers come from, without weights and events."""

import shutil
from pathlib import Path

from trl_suite.evidence import figures, report
from trl_suite.evidence.results import SCRATCH, load

RECORDS = ("run.json", "evaluations.csv")


def keep(runs: Path, into: Path) -> list[Path]:
    """Copy plan, records and curves, write the report and one picture per env there, and return the pictures.

    What is kept can be reported again: `into` is an experiment's folder like `runs`.

    Raises:
        InputError: `runs` holds no plan that can be read.
    """
    results = load(runs)
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / "plan.json", into / "plan.json")
    for planned in results.plan.runs:
        for name in RECORDS:
            if (runs / planned.folder / name).is_file():
                (into / planned.folder).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(runs / planned.folder / name, into / planned.folder / name)
    report.write(into)
    return [_picture(into, env) for env in load(into).envs]


def _picture(folder: Path, env: str) -> Path:
    results = load(folder)
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    path = folder / f"{env}.svg"
    path.write_text(
        figures.learning_curves(curves, results.references.get(env), figures.looks(results.methods(env), SCRATCH))
    )
    return path
