"""`trl-suite submit`: results laid out so that anyone can check them."""

from pathlib import Path

from trl_suite.cli.arguments import Submit
from trl_suite.experiment.reuse import submission
from trl_suite.terminal import Terminal, print_json

SUBMISSIONS = Path("submissions")


def execute(arguments: Submit) -> int:
    """Write the folder, say what to do with it, and return the exit code."""
    out = arguments.out or SUBMISSIONS / arguments.runs.resolve().name
    folder = submission.lay_out(
        arguments.runs, out, author=arguments.author, link=arguments.link, experiment=arguments.experiment
    )
    if arguments.json:
        print_json({"submission": str(folder), "head": submission.read_head(folder)})
    else:
        advice = f"try it: trl-suite check {folder} --runs 1; then open a pull request with it"
        Terminal().print(f"{folder}: ready\n{advice}", soft_wrap=True, highlight=False)
    return 0
