"""`trl-suite push`: a policy with a model card to the Hugging Face hub."""

from pathlib import Path

from trl_suite.cli.arguments import Push
from trl_suite.errors import InputError
from trl_suite.networks.formats import hub_upload
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import load_policy


def execute(arguments: Push) -> int:
    """Upload the policy, or write what would be uploaded; return the exit code."""
    console, policy = Terminal(), load_policy(arguments.policy)
    if arguments.dry:
        if arguments.dry.exists() and (not arguments.dry.is_dir() or any(arguments.dry.iterdir())):
            raise InputError(f"{arguments.dry}: is there already, and not an empty folder")
        folder = hub_upload.write(policy, arguments.repository, Path(arguments.dry))
        if arguments.json:
            print_json({"folder": str(folder)})
        else:
            console.print(f"would be uploaded: {folder}", soft_wrap=True, highlight=False)
        return 0
    address = hub_upload.push(policy, arguments.repository, private=arguments.private)
    if arguments.json:
        print_json({"address": address})
    else:
        console.print(address, soft_wrap=True, highlight=False)
    return 0
