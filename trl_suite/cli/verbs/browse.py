"""`trl-suite browse`: every run of several experiments on one page."""

from trl_suite.cli.arguments import Browse
from trl_suite.evidence.report import browse_page
from trl_suite.evidence.results import experiment_results
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Browse) -> int:
    """Write the page, say where it is, and return the exit code."""
    page = browse_page.write([experiment_results.load(runs) for runs in arguments.runs], arguments.out)
    if arguments.json:
        print_json({"page": str(page)})
    else:
        Terminal().print(f"{page}: open it in a browser", soft_wrap=True)
    return 0
