"""`trl-suite report`: the table and the page of an experiment, complete or not."""

from rich.console import Console

from trl_suite.cli.arguments import Report
from trl_suite.cli.outcome import as_json, show
from trl_suite.evidence.report import report_files
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results


def execute(arguments: Report) -> int:
    """Write the page, print the table, and return the exit code."""
    results = experiment_results.load(arguments.runs)
    page = report_files.write(arguments.runs)
    if arguments.keep:
        archive_results(arguments.runs, arguments.keep)
    if arguments.out:
        page = results.report(arguments.out)
    if arguments.tensorboard:
        results.tensorboard()
    if arguments.json:
        print(as_json(results))
        return 0
    console = Console()
    show(console, results)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    return 0
