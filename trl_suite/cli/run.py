"""`trl-suite run`: an experiment from its file to its report."""

from rich.console import Console

from trl_suite.cli.arguments import Run
from trl_suite.cli.outcome import show
from trl_suite.evidence import report, results
from trl_suite.experiment.run import run


def execute(arguments: Run) -> int:
    """Make the runs and the report; return 0, 1 where runs failed, or 130 where they were stopped."""
    console = Console()
    finished = run(arguments.experiment, runs=arguments.runs, workers=arguments.workers, quiet=arguments.quiet)
    show(console, results.load(finished.folder))
    page = report.write(finished.folder)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    console.print(f"curves: tensorboard --logdir {finished.folder}", soft_wrap=True, highlight=False)
    tally = finished.tally
    if tally.interrupted:
        console.print("interrupted; the same command goes on with what is not done", style="yellow")
        return 130
    return 1 if tally.failed or tally.skipped else 0
