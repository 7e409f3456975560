"""`trl-suite show`: what a variant looks like beside its env."""

from trl_suite.cli.arguments import Show
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.variant_picture import show


def execute(arguments: Show) -> int:
    """Write the picture and return the exit code."""
    address = f"{arguments.env}.{arguments.variant}" if arguments.variant else arguments.env
    picture = show(address, arguments.out, steps=arguments.steps)
    if arguments.json:
        print_json({"picture": str(picture)})
    else:
        Terminal().print(str(picture), soft_wrap=True)
    return 0
