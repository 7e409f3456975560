"""`trl-suite import`: an ONNX file, an SB3 zip, a folder of RL Zoo or of the hub, or an experiment's runs.

None of it is executed.
"""

from pathlib import Path

from trl_suite import content
from trl_suite.cli.arguments import Import, aliases
from trl_suite.errors import InputError
from trl_suite.experiment import policy_library
from trl_suite.experiment.running.run_state import PLAN
from trl_suite.networks.exchange.onnx_import import ImportedPolicy
from trl_suite.networks.formats import hub
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import EXCHANGE_SUFFIXES, FileArguments, load_foreign, load_policy
from trl_suite.worlds.identity import folder_name


def execute(arguments: Import) -> int:
    """Store the policy, or the policies of an experiment's runs, and return the exit code."""
    if (Path(arguments.zip) / PLAN).is_file():
        return _from_runs(Path(arguments.zip), arguments.out or content.workspace() / "policies", arguments.json)
    folder = arguments.out or content.workspace() / "policies" / _name(arguments.zip)
    if folder.exists():
        raise InputError(f"{folder} exists already; name another folder with --out")
    policy, notes = _loaded(arguments)
    policy.save(folder)
    console, card = Terminal(), policy.card
    if arguments.json:
        facts = {"algorithm": card.algorithm, "env": card.training.env, "notes": list(notes)}
        print_json({"policies": [str(folder)]} | facts)
        return 0
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    normalises = "with its statistics" if card.normaliser else "without normalisation"
    learner = f" (trained by {card.training.trained_by})" if card.training.trained_by else ""
    alone = ", an actor alone" if card.network.actor_only else ""
    text = f"{card.algorithm.upper()}{learner} of {card.training.env}{alone}, {normalises}, nothing executed: {folder}"
    console.print(text, soft_wrap=True, highlight=False)
    return 0


def _loaded(arguments: Import) -> ImportedPolicy:
    alias = aliases(arguments.alias)
    file_arguments = FileArguments(
        statistics=arguments.statistics,
        env=arguments.env,
        algorithm=arguments.algorithm,
        activation=arguments.activation,
        alias=alias,
    )
    if Path(arguments.zip).suffix in EXCHANGE_SUFFIXES and not Path(arguments.zip).is_dir():
        return load_foreign(Path(arguments.zip), file_arguments)
    policy = load_policy(
        arguments.zip,
        statistics=arguments.statistics,
        env=arguments.env,
        algorithm=arguments.algorithm,
        activation=arguments.activation,
        alias=alias,
    )
    return ImportedPolicy(policy, ())


def _from_runs(runs: Path, into: Path, as_json: bool) -> int:
    console, placed = Terminal(), policy_library.add(runs, into)
    if as_json:
        print_json({"policies": list(map(str, placed))})
        return 0
    for folder in placed:
        console.print(str(folder), soft_wrap=True, highlight=False)
    console.print(f"{len(placed)} new policies in {into}", soft_wrap=True, highlight=False)
    return 0


def _name(where: str) -> str:
    """Return a folder's name: `ppo-HalfCheetah-v5.zip` and `hf://user/ppo-HalfCheetah-v5@main` give the obvious."""
    text = where.removeprefix(hub.SCHEME).partition("@")[0] if where.startswith(hub.SCHEME) else _stem(Path(where))
    return folder_name(text) or "imported"


def _stem(path: Path) -> str:
    return path.stem if path.suffix in (".zip", *EXCHANGE_SUFFIXES) else path.resolve().name
