"""`trl-suite tune`: the search that an experiment asks for, and what it found."""

from rich.table import Table

from trl_suite.cli.arguments import Tune
from trl_suite.cli.verbs.run import CTRL_C
from trl_suite.evidence.results.number_format import setting
from trl_suite.experiment.tuning.tuning_file import Tuning
from trl_suite.experiment.tuning.tuning_rounds import tune
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Tune) -> int:
    """Search, print a table, and return 0, or 130 where the search was stopped."""
    console = Terminal(stderr=arguments.json)
    quiet = arguments.quiet or arguments.json
    tuned = tune(
        arguments.experiment, runs=arguments.runs, workers=arguments.workers, quiet=quiet, here=arguments.on == "here"
    )
    if tuned.tally.storage:
        raise tuned.tally.storage
    if tuned.tuning is None:
        console.print("interrupted; the same command goes on where it was", style="yellow")
        return CTRL_C
    if arguments.json:
        print_json(tuned.tuning)
        return 0
    console.print(_table(tuned.tuning))
    console.print(f"kept in {tuned.file}; trl-suite run takes it from there", soft_wrap=True, highlight=False)
    return 0


def _table(tuning: Tuning) -> Table:
    table = Table("target", "method", "trials", "untuned", "best", "median", "worst", "best hyperparameters")
    for study in tuning.studies:
        ranked, untuned = study.ranked, study.trials[0].value
        values = [study.best.value, study.median, ranked[-1].value]
        table.add_row(
            study.env,
            study.method,
            str(len(study.trials)),
            *("failed" if value is None else f"{value:,.1f}" for value in (untuned, *values)),
            ", ".join(f"{name} {setting(value)}" for name, value in study.best.hyperparameters.items()),
        )
    return table
