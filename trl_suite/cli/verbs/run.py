"""`trl-suite run`: an experiment from its file to its report."""

import signal
from itertools import chain
from pathlib import Path

import msgspec

from trl_suite.cli.arguments import Run
from trl_suite.cli.verbs.report import show
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.experiment.planning.cohort_keys import summary
from trl_suite.experiment.run_experiment import Finished, RunOptions, command_of, make_runs, planned
from trl_suite.experiment.running.scheduler import Tally
from trl_suite.experiment.specification import experiment_file, table_overrides
from trl_suite.experiment.specification.experiment_file import NamedExperiment
from trl_suite.terminal import Terminal, print_json

RESUMABLE, CTRL_C = 75, 130  # exit codes
GOES_ON = "interrupted; the same command goes on where it was"


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How `run` ended, for programs."""

    folder: str
    report: str  # the page; "" where none was made
    runs: int
    done: int
    failed: tuple[str, ...]  # folders of runs, relative to the experiment's
    skipped: tuple[str, ...]  # their source is missing
    refused: dict[str, str]  # folders left alone, and why
    interrupted: bool
    exit_code: int
    measures: tuple[MeasureRow, ...]  # empty where no report was made


def execute(arguments: Run) -> int:
    """Make the runs and the report; return 0, 1 where runs failed, or 75 or 130 where they were stopped."""
    values = table_overrides.assignments(list(chain.from_iterable(arguments.set)))
    seeds = table_overrides.seeds_of(arguments.seeds) if arguments.seeds is not None else None
    named = experiment_file.read(Path(arguments.experiment), overrides=values, seeds=seeds)
    options = RunOptions(
        runs=arguments.runs,
        workers=arguments.workers,
        on=arguments.on,
        address=arguments.address,
        mix_versions=arguments.mix_versions,
        reuse=tuple(chain.from_iterable(arguments.reuse)),
    )
    if arguments.plan:
        return _plan(named, options, arguments.json)
    terminal = Terminal(quiet=arguments.quiet, stderr=arguments.json)
    finished = make_runs(named, options, terminal, command_of(named, options, values, seeds))
    if finished.tally.storage:
        raise finished.tally.storage
    if arguments.json:
        outcome = _outcome(finished)
        print_json(outcome)
        return outcome.exit_code
    return _shown(finished, Terminal())


def _shown(finished: Finished, terminal: Terminal) -> int:
    """Print the table, and where report and curves are; return the exit code."""
    if _in_haste(finished.tally):
        terminal.print(GOES_ON, style="yellow")
        return RESUMABLE
    results = experiment_results.load(finished.folder)
    show(terminal, results)
    page = report_files.write(finished.folder)
    terminal.print(f"report: {page}", soft_wrap=True)
    terminal.print(f"curves: tensorboard --logdir {results.tensorboard()}", soft_wrap=True)
    for folder, why in finished.tally.refused.items():
        terminal.print(f"left alone: {folder}: {why}", style="red", soft_wrap=True)
    if finished.tally.interrupted:
        terminal.print(GOES_ON, style="yellow")
    return _exit_code(finished.tally)


def _outcome(finished: Finished) -> RunOutcome:
    tally, haste = finished.tally, _in_haste(finished.tally)
    results = experiment_results.load(finished.folder)
    if not haste:
        results.tensorboard()
    return RunOutcome(
        folder=str(finished.folder),
        report="" if haste else str(report_files.write(finished.folder)),
        runs=len(results.plan.runs),
        done=len(tally.done),
        failed=tuple(spec.folder for spec in tally.failed),
        skipped=tuple(spec.folder for spec in tally.skipped),
        refused=tally.refused,
        interrupted=tally.interrupted,
        exit_code=_exit_code(tally),
        measures=() if haste else tuple(results.measures()),
    )


def _in_haste(tally: Tally) -> bool:
    """Return whether somebody else than the user ended it, who may not wait for a report."""
    return tally.stopped_by is not None and tally.stopped_by != signal.SIGINT


def _exit_code(tally: Tally) -> int:
    if tally.interrupted:
        return RESUMABLE if _in_haste(tally) else CTRL_C
    return 1 if tally.failed or tally.skipped or tally.refused else 0


def _plan(named: NamedExperiment, options: RunOptions, as_json: bool) -> int:
    prospect = planned(named, options)
    if as_json:
        print_json(prospect.assigned)
        return 0
    terminal = Terminal()
    trained = [run for run in prospect.assigned if not (run.done or run.reused)]
    done = [f"{prospect.done:,} of {len(prospect.assigned):,} runs are done already"] if prospect.done else []
    steps = sum(run.steps for run in trained)
    total = [f"in all {steps:,} env steps"] if steps else []
    for line in (*done, *prospect.reused, *summary(trained), *total):
        terminal.print(line, soft_wrap=True)
    return 0
