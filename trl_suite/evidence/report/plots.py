"""`results.plot(kind, env)`: one of the report's pictures by its name."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from trl_suite.errors import InputError, unknown
from trl_suite.evidence.figures import gallery
from trl_suite.evidence.figures.gallery import CaptionedFigure
from trl_suite.evidence.results import across_targets
from trl_suite.evidence.results.experiment_results import Results

OF_A_TARGET = {
    "curves": "learning", "speed-up": "speed-up", "survival": "survival", "components": "components",
    "networks": "networks",
}  # fmt: skip


def plot(results: Results, kind: str, env: str | None = None) -> Figure:
    """Return the figure; see `Results.plot`.

    Raises:
        InputError: no such kind or target, or what is done does not suffice for the picture.
    """
    if kind in OF_A_TARGET:
        return _of_target(results, kind, target(results, env))
    group = next((name for name in gallery.ACROSS if kind == name or kind.startswith(f"{name}-")), None)
    if group is None:
        raise unknown("kind of picture", kind, (*OF_A_TARGET, *gallery.ACROSS))
    pictures = gallery.ACROSS[group](results, results.measures(), across_targets.overall(results))
    fitting = [picture for picture in pictures if picture.name == kind or picture.name.startswith(f"{kind}-")]
    if not fitting:
        raise InputError(
            f"no picture '{kind}': it needs several targets, sources, stages, severities or depths that are done; of a "
            "budget steps: --read-at"
        )
    if len(fitting) > 1:
        raise InputError(f"several pictures '{kind}': {', '.join(picture.name for picture in fitting)}; name one")
    return fitting[0].figure


def _of_target(results: Results, kind: str, env: str) -> Figure:
    rows = [row for row in results.measures() if row.env == env]
    pictures: Iterator[CaptionedFigure] = gallery.each_of_target(results, env, rows)
    found_by_name = (picture.figure for picture in pictures if picture.name == f"{OF_A_TARGET[kind]}-{env}")
    if (figure := next(found_by_name, None)) is None:
        raise InputError(f"no picture '{kind}' of {env}: not enough runs are done for it")
    return figure


def target(results: Results, env: str | None) -> str:
    """Return the target that is asked for; the experiment's own where it has one only.

    Raises:
        InputError: there is no such target, or none is named where there are several.
    """
    if env is None and len(results.envs) == 1:
        return results.envs[0]
    if env is None:
        raise InputError(f"env: which of {', '.join(results.envs)}?")
    if env not in results.envs:
        raise unknown("target", env, results.envs)
    return env
