"""`trl-suite check`: some runs of an archive made again, each with a verdict."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from trl_suite.cli.arguments import Check
from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.reuse import spot_check, submission
from trl_suite.experiment.reuse.reproduction import rerun, specs_of
from trl_suite.experiment.reuse.spot_check import CheckedRun
from trl_suite.experiment.running import progress
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.terminal import Terminal, print_json

INTERRUPTED = "interrupted; nothing is said of the runs that were not made"


def execute(arguments: Check) -> int:
    """Make the runs again, print a line for each, and return 0 where all are verified or consistent, else 1."""
    submitted = submission.is_submission(arguments.results)
    if arguments.mark and not submitted:
        raise InputError(f"--mark: {arguments.results} is no submission: no {submission.SUBMISSION_FILE} in it")
    results = experiment_results.load(submission.opened(arguments.results) if submitted else arguments.results)
    drawn = spot_check.draw(results, arguments.runs, np.random.default_rng(arguments.seed))
    out = (arguments.out or Path(tempfile.mkdtemp(prefix="trl-suite-check-"))).resolve()
    folders = spot_check.unpack(results, drawn, out / "recorded")
    checked: list[CheckedRun] = []
    for planned, folder in zip(drawn, folders, strict=True):
        with Stop() as stop, progress.display(Terminal(quiet=arguments.json), specs_of(folder)) as display:
            repetition = rerun(folder, out / "again", display, stop)
        if repetition is None:
            Terminal(stderr=arguments.json).print(
                "interrupted; nothing is said of the runs that were not made", style="yellow"
            )
            return 130
        checked.append(spot_check.judged(results, planned, repetition))
    if arguments.mark:
        submission.write_mark(arguments.results, checked)
    if arguments.json:
        print_json(checked)
    else:
        Terminal().print(_text(checked), soft_wrap=True)
    return 1 if any(run.verdict == "differs" for run in checked) else 0


def _text(checked: list[CheckedRun]) -> str:
    lines = [f"{run.verdict}: {run.run}{_remark(run)}" for run in checked]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(run.verdict for run in checked).items())
    return "\n".join([*lines, f"{len(checked)} of the archive's runs made again: {counts}"])


def _remark(run: CheckedRun) -> str:
    if run.verdict == "verified":
        return ""
    changes = ", ".join(f"{name} {change}" for name, change in run.repetition.circumstances.items())
    first = run.repetition.first_difference
    return f" (from step {first or 0:,} on, by {run.repetition.largest_difference:,.6g} at most; {changes})"
