"""`trl-suite figure`: one picture for a paper, and the table of its numbers."""

from trl_suite.cli.arguments import Figure
from trl_suite.evidence.report import paper_figures
from trl_suite.evidence.results import experiment_results
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Figure) -> int:
    """Write picture and table, say where they are, and return the exit code."""
    results = experiment_results.load(arguments.runs)
    if arguments.read_at:
        results = results.reading_at(arguments.read_at)
    picture, table = paper_figures.write(results, arguments.kind, arguments.out, arguments.env, arguments.width)
    if arguments.json:
        print_json({"figure": str(picture), "table": str(table)})
    else:
        Terminal().print(f"{picture}, and its numbers in {table}", soft_wrap=True, highlight=False)
    return 0
