"""Results that anyone can check: a few runs of an archive, drawn at random, are made again and judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.reading import curve, run_records
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates, measures
from trl_suite.experiment.reuse.reproduction import Repetition
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN
from trl_suite.record import PlannedRun

Verdict = Literal["verified", "consistent", "differs"]
TOLERANCE_LEVEL = 0.99  # of the interval in which the area of one more seed would lie


class CheckedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was made again, and how far it may be trusted.

    `verified`: every episode's return is the same to the last bit. `consistent`: made with other versions or on another
    machine, its area lies where that of one more seed would. `differs`: neither.
    """

    run: str  # folder within the experiment's
    verdict: Verdict
    repetition: Repetition


def draw(results: Results, count: int, generator: np.random.Generator) -> list[PlannedRun]:
    """Return target runs that are done, drawn at random without replacement; all, where there are no more.

    Raises:
        InputError: no run is done.
    """
    done = [
        recorded.planned
        for recorded in results.recorded
        if recorded.planned.role == "target" and recorded.run is not None and recorded.run.status == "done"
    ]
    if not done:
        raise InputError(f"{results.folder}: no run on a target is done, so that none can be checked")
    order = generator.permutation(len(done))[:count]
    return [done[place] for place in sorted(order)]


def unpack(results: Results, planned: Sequence[PlannedRun], into: Path) -> list[Path]:
    """Write the records of runs, and of all that they build on, as folders to make again; return the runs' folders.

    Raises:
        InputError: a record is missing.
    """
    files = run_records.files(results.folder)
    sources, chain = {run.folder: run.source for run in results.plan.runs}, dict[str, None]()
    for run in planned:
        folder = run.folder
        while folder and folder not in chain:  # a stage of a sequence builds on all stages before
            chain[folder] = None
            folder = sources.get(folder, "")
    for folder in chain:
        for name in (RUN, EVALUATIONS):
            record = files.get(folder, {}).get(name)
            if record is not None:
                (into / folder).mkdir(parents=True, exist_ok=True)
                (into / folder / name).write_bytes(record.read_bytes())
            elif name == RUN:
                raise InputError(f"{results.folder}: no record of {folder}")
    return [into / run.folder for run in planned]


def judged(results: Results, planned: PlannedRun, repetition: Repetition) -> CheckedRun:
    """Return the verdict on one run and its repetition.

    The area of a repetition elsewhere is compared with those of the same condition's other seeds: it lies within
    mean +- t sd sqrt(1 + 1/n) with 99 % where it is one more draw of them (prediction interval of a normal sample).
    """
    if repetition.equal:
        return CheckedRun(run=planned.folder, verdict="verified", repetition=repetition)
    elsewhere = bool(repetition.circumstances.keys() - {"commit", "uncommitted changes"})
    close = elsewhere and _is_one_more_seed(results, planned, Path(repetition.repetition))
    return CheckedRun(run=planned.folder, verdict="consistent" if close else "differs", repetition=repetition)


def _is_one_more_seed(results: Results, planned: PlannedRun, repetition: Path) -> bool:
    curves = next(c for c in results.curves.values() if planned.folder in c.folders)
    others = np.array([folder != planned.folder for folder in curves.folders])
    repeated = curve.read(repetition / EVALUATIONS)
    if not np.array_equal(repeated.steps, curves.steps) or len(curves.steps) < 2:
        return False
    areas = measures.area(curves.steps, curves.whole)[others]
    low, high = estimates.prediction_interval(areas, TOLERANCE_LEVEL)
    return bool(low <= measures.area(repeated.steps, repeated.returns[None])[0] <= high)
