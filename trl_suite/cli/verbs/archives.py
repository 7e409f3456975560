"""`trl-suite results fetch`: archives that stand elsewhere."""

from trl_suite.cli.arguments import Archives
from trl_suite.evidence.reading import archive_download
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Archives) -> int:
    """Fetch what is missing, say of each folder what was done, and return the exit code."""
    fetched = {str(folder): archive_download.fetch(folder) for folder in arguments.results}
    if arguments.json:
        print_json(fetched)
        return 0
    for folder, was_needed in fetched.items():
        Terminal().print(f"{folder}: {'fetched' if was_needed else 'is here already'}", soft_wrap=True)
    return 0
