"""What of an experiment's folder is worth committing: all that its numbers come from, without weights and events."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from trl_suite.errors import InputError
from trl_suite.evidence.figures import gallery, learning_curves
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.reading import run_archive
from trl_suite.evidence.reading.run_archive import Files
from trl_suite.evidence.reading.run_records import EVALUATIONS, HOME, RUN, files
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import film_cast, probe_prediction
from trl_suite.evidence.results.experiment_results import Results, load
from trl_suite.record import Plan, decode

COPIED = ("plan.json", probe_prediction.FILE, film_cast.FILE)
RECORDS = (RUN, EVALUATIONS, HOME)
MEASURES = "measures.csv"
FEW = 6  # targets that have a picture each; of more, the report shows what can be taken in


def archive_results(runs: Path, into: Path) -> list[Path]:
    """Copy plan and records there, write the report, its measures and a picture per target, and return the pictures.

    What is kept can be reported again: `into` is an experiment's folder like `runs`, with its runs in one archive.

    Raises:
        InputError: `runs` holds no plan that can be read, or is the folder to keep them in.
    """
    if into.resolve() == runs.resolve():
        raise InputError(f"{into}: results are kept beside their runs; name another folder: experiments/NAME/results")
    results = load(runs)
    into.mkdir(parents=True, exist_ok=True)
    _forget(into)
    for name in COPIED:
        if (runs / name).is_file():
            shutil.copyfile(runs / name, into / name)
    run_archive.write(into / run_archive.NAME, _records(files(runs), results.plan))
    report_files.write(into)
    kept = load(into)
    kept.report(into / MEASURES)
    drawn = [env for env in kept.envs if any(key[0] == env for key in kept.curves)]
    return [_picture(kept, env) for env in drawn] if len(drawn) <= FEW else []


def _forget(into: Path) -> None:
    """Remove what was kept there before and would not be written anew: of a target that is no longer one, say."""
    if (plan := into / "plan.json").is_file():
        envs = {planned.env for planned in decode(plan, Plan).runs}
        for name in (*COPIED, *map(_picture_name, envs)):
            (into / name).unlink(missing_ok=True)


def _records(found: Files, plan: Plan) -> Iterator[tuple[str, bytes]]:
    for planned in plan.runs:
        mine = found.get(planned.folder, {})
        yield from ((f"{planned.folder}/{name}", mine[name].read_bytes()) for name in RECORDS if name in mine)


def _picture(results: Results, env: str) -> Path:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    path = results.folder / _picture_name(env)
    path.write_text(svg(learning_curves.learning(curves, results.scales.get(env), gallery.style(results)), env))
    return path


def _picture_name(env: str) -> str:
    return f"{report_files.file_name(env)}.svg"
