"""`trl-suite run`: an experiment from its file to its report."""

import signal

import msgspec
from rich.console import Console

from trl_suite.cli.arguments import Run
from trl_suite.cli.verbs.report import show
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.planning.cohort_keys import summary
from trl_suite.experiment.run_experiment import planned, run
from trl_suite.experiment.running.scheduler import Tally

RESUMABLE, CTRL_C = 75, 130  # exit codes


def execute(arguments: Run) -> int:
    """Make the runs and the report; return 0, 1 where runs failed, or 75 or 130 where they were stopped."""
    console = Console()
    if arguments.plan or arguments.json:
        return _plan(console, arguments)
    finished = run(
        arguments.experiment,
        runs=arguments.runs,
        workers=arguments.workers,
        quiet=arguments.quiet,
        on=arguments.on,
        address=arguments.address,
        mix_versions=arguments.mix_versions,
        reuse=arguments.reuse,
    )
    tally = finished.tally
    if tally.storage:
        raise tally.storage
    if tally.stopped_by and tally.stopped_by != signal.SIGINT:  # whoever sent it may not wait for a report
        console.print("interrupted; the same command goes on where it was", style="yellow")
        return RESUMABLE
    results = experiment_results.load(finished.folder)
    show(console, results)
    page = report_files.write(finished.folder)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    console.print(f"curves: tensorboard --logdir {results.tensorboard()}", soft_wrap=True, highlight=False)
    return _verdict(console, tally)


def _plan(console: Console, arguments: Run) -> int:
    plan = planned(arguments.experiment, arguments.workers)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
        return 0
    for line in summary(plan):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return 0


def _verdict(console: Console, tally: Tally) -> int:
    for folder, why in tally.refused.items():
        console.print(f"left alone: {folder}: {why}", style="red", soft_wrap=True, highlight=False)
    if tally.interrupted:
        console.print("interrupted; the same command goes on where it was", style="yellow")
        return CTRL_C
    return 1 if tally.failed or tally.skipped or tally.refused else 0
