"""What of an experiment's folder is worth committing: all that its numbers come from, without weights and events."""

import shutil
from pathlib import Path

from trl_suite.evidence import film, pictures, prediction, report
from trl_suite.evidence.figures import learning
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.members import EVALUATIONS, HOME, RUN
from trl_suite.evidence.results import Results, load

RECORDS = (RUN, EVALUATIONS, HOME)


def keep(runs: Path, into: Path) -> list[Path]:
    """Copy plan, records and curves, write the report and one picture per evaluated env there, and return the pictures.

    What is kept can be reported again: `into` is an experiment's folder like `runs`.

    Raises:
        InputError: `runs` holds no plan that can be read.
    """
    results = load(runs)
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / "plan.json", into / "plan.json")
    for name in (prediction.FILE, film.FILE):
        if (runs / name).is_file():
            shutil.copyfile(runs / name, into / name)
    for planned in results.plan.runs:
        for name in RECORDS:
            if (runs / planned.folder / name).is_file():
                (into / planned.folder).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(runs / planned.folder / name, into / planned.folder / name)
    report.write(into)
    kept = load(into)
    return [_picture(kept, env) for env in kept.envs if any(key[0] == env for key in kept.curves)]


def _picture(results: Results, env: str) -> Path:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    path = results.folder / f"{report.file_name(env)}.svg"
    path.write_text(svg(learning.learning(curves, results.references.get(env), pictures.style(results)), env))
    return path
