"""`trl-suite experiments`: those of the workspace and of the suite, with what each asks."""

from typing import Any

from trl_suite import content
from trl_suite.cli.arguments import Experiments
from trl_suite.cli.verbs.envs import wrapped
from trl_suite.errors import InputError
from trl_suite.evidence.results.number_format import plural
from trl_suite.experiment.specification import experiment_file
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Experiments) -> int:
    """Print every experiment's name, question and size; return the exit code."""
    tables = {name: _table(name) for name in content.names("experiments")}
    if arguments.json:
        print_json(tables)
        return 0
    console = Terminal()
    for name, table in tables.items():
        console.print(name, style="bold", highlight=False, soft_wrap=True)
        if "error" in table:
            console.print(wrapped(table["error"], console.width), style="red", highlight=False, soft_wrap=True)
            continue
        size = [plural(table[kind], kind.removesuffix("s")) for kind in ("targets", "methods", "seeds")]
        for line in (table["question"], ", ".join(size)):
            console.print(wrapped(line, console.width), highlight=False, soft_wrap=True)
    return 0


def _table(name: str) -> dict[str, Any]:
    """Return an experiment's facts; of a file that is wrong, what is wrong with it."""
    try:
        experiment = experiment_file.glance(content.find("experiments", name))
    except InputError as error:
        return {"error": str(error)}
    return _facts(experiment)


def _facts(experiment: Experiment) -> dict[str, Any]:
    return {
        "question": experiment.question,
        "algorithm": experiment.algorithm,
        "targets": len(experiment.target.envs),
        "methods": len(experiment.methods),
        "seeds": len(experiment.seeds),
    }
