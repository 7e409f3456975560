"""`trl-suite show`: what a variant looks like beside its env."""

from trl_suite.cli.arguments import Show
from trl_suite.worlds.variant_picture import show


def execute(arguments: Show) -> int:
    """Write the picture and return the exit code."""
    address = f"{arguments.env}.{arguments.variant}" if arguments.variant else arguments.env
    print(show(address, arguments.out, steps=arguments.steps))
    return 0
