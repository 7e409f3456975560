"""`trl-suite watch`: a policy in motion, in a window where there is a display and as a film otherwise."""

import re
from pathlib import Path

import numpy as np

from trl_suite.cli.arguments import Watch, aliases
from trl_suite.errors import InputError
from trl_suite.evidence.results.number_format import number
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.policy import FOREIGN_SUFFIXES, Policy
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.acting import filming, viewer
from trl_suite.training.acting.filming import Scene
from trl_suite.training.policy_import import load_policy, spaces_of
from trl_suite.training.reproducibility import threads

SECONDS_MAX = 120.0  # of a film, which is held in memory


def execute(arguments: Watch) -> int:
    """Show the policy, or write the film; return the exit code."""
    console = Terminal(stderr=arguments.json)
    if not 0 < arguments.seconds <= SECONDS_MAX:
        raise InputError(f"--seconds {arguments.seconds:g}: more than 0, and {SECONDS_MAX:.0f} at most")
    if arguments.out:
        filming.check(arguments.out)
    is_zip = Path(arguments.policy).suffix in FOREIGN_SUFFIXES  # which may not tell what it was trained on
    policy = load_policy(arguments.policy, env=(arguments.env or None) if is_zip else None)
    home = Scene("the policy", policy.card.training.env, lambda seen: policy.predict(seen)[0])
    target = _on_target(policy, _address(policy, arguments), aliases(arguments.alias))
    with threads(1):
        if arguments.out is None and not arguments.side_by_side and viewer.has_display():
            console.print(f"{target.address}: Ctrl-C ends it", soft_wrap=True, highlight=False)
            returns = viewer.play(target)
            if arguments.json:
                print_json({"returns": list(returns)})
                return 0
            console.print(f"returns: {', '.join(map(number, returns)) or 'none'}", highlight=False)
            return 0
        scenes = [home._replace(title="at home"), target] if arguments.side_by_side else [target]
        path = arguments.out or Path(f"{_file_name(arguments.policy)}-on-{_file_name(target.address)}.gif")
        filming.write(path, *filming.side_by_side(scenes, arguments.seconds))
    if arguments.json:
        print_json({"film": str(path)})
    else:
        console.print(f"film: {path}", soft_wrap=True, highlight=False)
    return 0


def _address(policy: Policy, arguments: Watch) -> str:
    """Return the env to watch: the one that was asked for, else the policy's own, with the variant."""
    address = arguments.env or policy.card.training.env
    if not arguments.variant:
        return address
    if "." in address or "?" in address:
        raise InputError(f"--variant {arguments.variant}: {address} names its variant already")
    return f"{address}.{arguments.variant}"


def _on_target(policy: Policy, address: str, alias: dict[str, str]) -> Scene:
    """Return the policy on the target, its slots matched by name.

    Raises:
        InputError: the policy cannot act there: a slot that it needs is missing.
    """
    target = spaces_of(address).interface
    if target == policy.interface and not alias:
        return Scene("on the target", address, lambda seen: policy.predict(seen)[0])
    actor = source_actor(policy, target, align(policy.interface, target, alias))
    return Scene("on the target", address, lambda seen: np.asarray(actor.predict(seen)))


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).name).strip("-.") or "policy"
