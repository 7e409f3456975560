"""Rewards that a source's transitions would have had in the target, where the terms of the reward make it exact."""

from collections.abc import Mapping

import msgspec
import torch

from trl_suite.errors import InputError
from trl_suite.networks.policy_memory import TERM_PREFIX
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.env_spec import EnvSpec, Term
from trl_suite.worlds.stepping.env import built


def relabelled(replay: Mapping[str, torch.Tensor], source: str, target: str) -> torch.Tensor:
    """Return the rewards (transitions,) of the target env for what was done in the source env.

    A target whose terms differ from the source's in their weights alone pays the same terms by other weights. One that
    pays alike, whatever else differs, pays what was paid.

    Args:
        replay: the source's, with `rewards` and a `term.NAME` for each term.
        source: address of the env that it is from.
        target: address of the env that it is for.

    Raises:
        InputError: the target pays for something else, or ends elsewhere, so that the terms do not tell its reward.
    """
    if source == target:
        return replay["rewards"]
    where = f"the replay of {source} cannot be paid as {target} pays"
    if source.startswith(FOREIGN) or target.startswith(FOREIGN):
        raise InputError(f"{where}: the terms of a foreign env's reward are not known")
    target_spec, source_spec = (built(Address.parse(address))[0] for address in (target, source))
    _check_ends(target_spec, source_spec, where)
    if target_spec.reward == source_spec.reward:
        return replay["rewards"]
    scales = {term.label: _scale(term, source_spec, where) for term in target_spec.reward}
    missing = [name for name in scales if f"{TERM_PREFIX}{name}" not in replay]
    if missing:
        raise InputError(f"{where}: the source has not kept {', '.join(missing)}")
    paid = torch.stack([scale * replay[f"{TERM_PREFIX}{name}"] for name, scale in scales.items()])
    return paid.sum(0).float()


def _check_ends(target_spec: EnvSpec, source_spec: EnvSpec, where: str) -> None:
    ends = [(spec.healthy, spec.terminates, spec.success) for spec in (target_spec, source_spec)]
    if ends[0] != ends[1]:
        raise InputError(f"{where}: its episodes end at other states")


def _scale(term: Term, source_spec: EnvSpec, where: str) -> float:
    """Return by how much a term of the source's reward is to be multiplied."""
    like = next((other for other in source_spec.reward if other.label == term.label), None)
    if like is None or msgspec.structs.replace(like, weight=term.weight) != term:
        raise InputError(f"{where}: the source's reward has no term like its '{term.label}'")
    if like.weight == term.weight:
        return 1.0
    if like.weight == 0 or term.cap is not None:
        raise InputError(f"{where}: the source's '{term.label}' was {'capped' if like.weight else 'not paid for'}")
    return term.weight / like.weight
