"""`trl-suite rerun`: one recorded run made again, and compared."""

from pathlib import Path

from trl_suite.cli.arguments import Rerun
from trl_suite.experiment.reuse.reproduction import Repetition, rerun, specs_of
from trl_suite.experiment.running import progress
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Rerun) -> int:
    """Make the run and print the comparison; return 0 where both are the same to the last bit, else 1."""
    out = (arguments.out or Path("runs") / "reruns" / arguments.run.resolve().parents[2].name).resolve()
    specs = specs_of(arguments.run)
    with Stop() as stop, progress.display(Terminal(quiet=arguments.json), specs) as display:
        repetition = rerun(arguments.run, out, display, stop)
    if repetition is None:
        Terminal(stderr=arguments.json).print("interrupted; the same command goes on where it was", style="yellow")
        return 130
    if arguments.json:
        print_json(repetition)
    else:
        Terminal().print(_text(repetition), soft_wrap=True)
    return 0 if repetition.equal else 1


def _text(repetition: Repetition) -> str:
    lines = [f"made again: {repetition.repetition}"]
    if repetition.equal:
        weights = ", and so are the weights" if repetition.weights_equal else "; the record keeps no weights to compare"
        lines.append(f"every episode's return is the same to the last bit{weights}")
    elif repetition.evaluations_equal:
        lines.append("every episode's return is the same to the last bit, but the weights are not")
    else:
        first = f"from step {repetition.first_difference:,} on" if repetition.first_difference is not None else ""
        lines.append(f"returns differ {first}, by {repetition.largest_difference:,.6g} at most")
    lines += [f"{name}: {change}" for name, change in repetition.circumstances.items()]
    return "\n".join(lines)
