"""Who plays in the film of an experiment, and where a finished one lies; draws nothing."""

from pathlib import Path
from typing import NamedTuple

from trl_suite.errors import InputError, unknown
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import measures
from trl_suite.record import SCRATCH

FILM_FILE = "film.gif"  # in the experiment's folder
LARGEST = 2_500_000  # bytes that a page takes in: it is to stay below 5 MB


class FilmCast(NamedTuple):
    """The policies of one target, by run folder."""

    env: str
    home: str  # env of the source
    method: str
    seed: int
    source: str
    best: str
    scratch: str


def cast(results: Results, env: str = "") -> FilmCast:
    """Return the policies to be shown: of the method that ended highest, the pair whose end is the median.

    Args:
        results: of an experiment.
        env: target; the first where not given.

    Raises:
        InputError: there is no such target, or no finished method with a source and a scratch run of its seed.
    """
    if env and env not in results.envs:
        raise unknown("target", env, results.envs, str(results.folder))
    env = env or next(iter(results.envs), "")
    scratch = results.curves.get((env, SCRATCH))
    rows = [row for row in results.measures() if row.env == env and row.source and row.asymptote.n]
    if scratch is None or not rows:
        raise InputError(f"{results.folder}: no method with a source has finished on {env or 'any target'} yet")
    row = max(rows, key=lambda row: row.asymptote.value)
    run = _middle(results.curves[env, row.method], scratch)
    if run is None:
        raise InputError(f"{results.folder}: no run of {row.method} on {env} has a scratch run of its seed")
    method_curves = results.curves[env, row.method]
    seed, folder = int(method_curves.seeds[run]), method_curves.folders[run]
    return FilmCast(
        env=env, home=row.source, method=row.method, seed=seed, best=folder,
        source=next(member.planned.source for member in results.recorded if member.planned.folder == folder),
        scratch=scratch.folders[scratch.seeds.tolist().index(seed)],
    )  # fmt: skip


def _middle(method_curves: Curves, scratch: Curves) -> int | None:
    """Return the complete run with a complete scratch run of its seed whose end is the median of those."""
    complete = {seed for seed, whole in zip(scratch.seeds.tolist(), scratch.complete, strict=True) if whole}
    paired = [
        run for run, seed in enumerate(method_curves.seeds.tolist()) if method_curves.complete[run] and seed in complete
    ]
    ends = measures.asymptote(method_curves.steps, method_curves.returns)
    return sorted(paired, key=lambda run: ends[run])[len(paired) // 2] if paired else None


class FilmFile(NamedTuple):
    """The film's file, as a page describes it."""

    path: Path
    size: int  # bytes, 0 where there is none

    @property
    def shown(self) -> bool:
        """Whether it is there and small enough."""
        return 0 < self.size <= LARGEST


def find(results: Results) -> FilmFile:
    """Return the film in the experiment's folder."""
    path = results.folder / FILM_FILE
    return FilmFile(path, path.stat().st_size if path.is_file() else 0)
