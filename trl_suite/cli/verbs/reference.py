"""`trl-suite reference`: scratch runs become the scale of every later experiment of their target."""

from trl_suite import content
from trl_suite.cli.arguments import Reference
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.planning import measured_references
from trl_suite.experiment.planning.measured_references import REFERENCES_FOLDER
from trl_suite.terminal import Terminal, print_json


def execute(arguments: Reference) -> int:
    """Write a reference for each target, print them, and return 0."""
    console = Terminal()
    references = measured_references.measured(experiment_results.load(arguments.runs))
    paths = measured_references.write(references, arguments.out or content.workspace() / REFERENCES_FOLDER)
    if arguments.json:
        print_json({"references": list(map(str, paths))})
        return 0
    for path, reference in zip(paths, references, strict=True):
        scale = reference.scale
        flat = "flat at the end" if reference.flat else "still rising at the end"
        console.print(
            f"{path}: {scale.random:,.1f} scores 0 and {scale.reference:,.1f} scores 1; {len(reference.seeds)} seeds, "
            f"{reference.steps:,} steps, {flat}",
            soft_wrap=True,
            highlight=False,
        )
    return 0
