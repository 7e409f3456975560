"""`trl-suite film`: the policies of an experiment in motion, side by side."""

from collections.abc import Iterator
from pathlib import Path

from trl_suite.cli.arguments import Film
from trl_suite.errors import InputError
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results import film_cast as casting
from trl_suite.evidence.results.film_cast import FilmCast
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.policy import Policy, load
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.acting import filming
from trl_suite.training.acting.filming import Scene
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.reproducibility import threads


def execute(arguments: Film) -> int:
    """Write the film, and the report with it where it lies in the experiment's folder; return the exit code."""
    console = Terminal(stderr=arguments.json)
    if arguments.out:
        filming.check(arguments.out)
    results, path = experiment_results.load(arguments.runs), arguments.out or arguments.runs / casting.FILM_FILE
    cast = casting.cast(results, arguments.env)
    with threads(1):
        scenes = list(_scenes(arguments.runs, cast, results.plan.specification.get("alias", {}), console))
        filming.write(path, *filming.side_by_side(scenes, arguments.seconds))
    report = report_files.write(arguments.runs) if path == arguments.runs / casting.FILM_FILE else None
    if arguments.json:
        print_json({"film": str(path), "report": str(report) if report else None})
        return 0
    console.print(f"film: {path}", soft_wrap=True, highlight=False)
    if report:
        console.print(f"report: {report}", soft_wrap=True, highlight=False)
    return 0


def _scenes(runs: Path, cast: FilmCast, alias: dict[str, str], console: Terminal) -> Iterator[Scene]:
    source, best, scratch = (_policy(runs / folder) for folder in (cast.source, cast.best, cast.scratch))
    yield Scene("source at home", cast.home, lambda seen: source.predict(seen)[0])
    try:
        target = spaces_of(cast.env).interface
        actor = source_actor(source, target, align(source.interface, target, alias))
        yield Scene("the same at step 0", cast.env, actor.predict)
    except InputError as error:
        console.print(f"not shown at step 0: {error}", style="yellow", highlight=False, soft_wrap=True)
    yield Scene(f"{cast.method} at the end", cast.env, lambda seen: best.predict(seen)[0])
    yield Scene("scratch at the end", cast.env, lambda seen: scratch.predict(seen)[0])


def _policy(run: Path) -> Policy:
    folder = run / "policy"
    if not folder.is_dir():
        raise InputError(f"{folder}: is not here; a film needs the policies, which results that were kept leave out")
    return load(folder)
