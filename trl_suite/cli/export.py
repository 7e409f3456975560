"""`trl-suite export`: a policy as a zip that Stable-Baselines3 opens."""

from rich.console import Console

from trl_suite.cli.arguments import Export
from trl_suite.errors import InputError
from trl_suite.networks import zip_export
from trl_suite.training.policy_import import load_policy


def execute(arguments: Export) -> int:
    """Write the zip, and the statistics beside it, and return the exit code."""
    for path in zip_export.files(arguments.out):
        if path.exists():
            raise InputError(f"{path} exists already")
    policy = load_policy(arguments.policy)
    written = policy.to_sb3(arguments.out)
    text = ", ".join(zip_export.left_to_sb3(policy.card))
    console, kind = Console(markup=False), policy.card.algorithm.upper()
    console.print(f"{kind}.load('{written[0]}')", soft_wrap=True, highlight=False)
    if text:
        console.print(f"not in its card, so SB3's defaults: {text}", soft_wrap=True, highlight=False)
    if len(written) > 1:
        text = f"on observations that come through VecNormalize.load('{written[1]}', env)"
        console.print(text, soft_wrap=True, highlight=False)
    return 0
