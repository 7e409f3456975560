"""Which worlds a batch holds: an address each, every different one built once; knows nothing of stepping them."""

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box

from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.stepping.domain_pool import DomainPool, domain_pool
from trl_suite.worlds.stepping.env import action_space, built
from trl_suite.worlds.stepping.perturbations import PerturbationSpec, applies, perturbation_spec
from trl_suite.worlds.stepping.task import BoundTask, stacked

Variant = str | Mapping[str, Any] | None
_TEXT_SIZES = frozenset({"nnames", "nnames_map", "npaths", "nbuffer", "ntext", "ntextdata"})


class BatchSpec:
    """Envs of one batch, in order: what each is now, and what it may become at its next episode.

    Args:
        count: how many.
        env: the env's name: `half-cheetah`.
        variants: per env a variant's name, a mapping of axes (with `variant` for a named one), or None.
        variant: one of the env's named variants, for all envs.
        axes: changes of single axes, for all envs.
        pools: per env the variants that its episodes are drawn from, in place of `variants`.

    Raises:
        InputError: the env, a variant or an axis does not exist, does not apply, or gives the envs different slots
            or actions; a pool's models differ in more than numbers.
    """

    def __init__(
        self,
        count: int,
        env: str,
        variants: Sequence[Variant] | None,
        variant: str | None,
        axes: Mapping[str, Any],
        pools: Sequence[Sequence[Variant]] | None = None,
    ) -> None:
        if pools is None:
            self.domains = [domain_pool(address) for address in _parsed_addresses(count, env, variants, variant, axes)]
        else:
            self.domains = _listed_pools(count, env, pools, variants or variant, axes)
        self.pools = tuple(tuple(map(str, pool.addresses)) for pool in self.domains)
        parsed = {str(address): address for pool in self.domains for address in pool.addresses}
        self._built = {text: built(address) for text, address in parsed.items()}
        _refuse_unless_alike(self._built)
        if any(len(pool) > 1 for pool in self.pools):
            _refuse_other_layouts({text: model for text, (_, model, *_) in self._built.items()})
        self._tasks_alike = _first_alike({text: task for text, (_, _, task, _) in self._built.items()})
        self.select([pool[0] for pool in self.pools])
        self.table, self.interface = self.env_specs[0], self.tasks[0].interface
        variations = {text: variation for text, (*_, variation) in self._built.items()}
        self._perturbed: dict[str, PerturbationSpec] = {}  # by address; empty where no env has any
        if any(map(applies, variations.values())):
            self._perturbed = {text: perturbation_spec(change, self.interface) for text, change in variations.items()}
        self.action_space = self._actions(env)

    def select(self, addresses: Sequence[str]) -> None:
        """Let the envs be at these addresses, one each, of those in their pools."""
        self.addresses = tuple(addresses)
        order = {text: index for index, text in enumerate(dict.fromkeys(addresses))}
        self.model_indices = np.array([order[text] for text in addresses])  # (envs,) which of the distinct models
        self.distinct_models = [self._built[text][1] for text in order]
        every = [self._built[text] for text in addresses]
        self.env_specs = [table for table, *_ in every]
        self.models = [model for _, model, *_ in every]
        self.tasks = [task for _, _, task, _ in every]
        self.variations = [variation for *_, variation in every]
        self.evaluated_as = tuple(self._tasks_alike[text] for text in addresses)  # equal: evaluated by equal numbers

    @property
    def longest_delays(self) -> tuple[int, int]:
        """Longest delay of actions and of observations that any env may have, in control steps."""
        variations = [variation for *_, variation in self._built.values()]
        return (
            max(variation.action_delay or 0 for variation in variations),
            max(variation.observation_delay or 0 for variation in variations),
        )

    @property
    def perturbation_specs(self) -> list[PerturbationSpec] | None:
        """Perturbations between policy and world, per world; None where no world has any."""
        if not self._perturbed:
            return None
        return [self._perturbed[text] for text in self.addresses]

    def tasks_by_structure(self) -> list[tuple[Any, BoundTask]]:
        """Return tasks over all worlds, each with the rows that it speaks for: as many as there are structures."""
        rows: dict[Any, list[int]] = {}
        structures = {task: task.structure for task in self.tasks}
        for world, task in enumerate(self.tasks):
            rows.setdefault(structures[task], []).append(world)
        if len(rows) == 1:
            return [(slice(None), stacked(self.tasks))]
        tasks: list[tuple[Any, BoundTask]] = []
        for structure, rows_of_structure in rows.items():
            filled = [
                task if structures[task] == structure else self.tasks[rows_of_structure[0]] for task in self.tasks
            ]
            tasks.append((np.array(rows_of_structure), stacked(filled)))
        return tasks

    def _actions(self, env: str) -> Box:
        spaces = {
            str(space): space for space in (action_space(model, task) for _, model, task, _ in self._built.values())
        }
        if len(spaces) > 1:
            raise InputError(f"{env}: the worlds' control ranges differ: {', '.join(spaces)}")
        return next(iter(spaces.values()))


def _parsed_addresses(
    count: int, env: str, variants: Sequence[Variant] | None, variant: str | None, axes: Mapping[str, Any]
) -> list[Address]:
    if count < 1:
        raise InputError(f"{env}: {count} worlds")
    shared = Address.of(env, variant or "", dict(axes))
    if variants is None:
        return [shared] * count
    if variant is not None:
        raise InputError(f"{env}: give either variant or variants")
    if len(variants) != count:
        raise InputError(f"{env}: {len(variants)} variants for {count} worlds")
    return [_address(env, each_env, axes) for each_env in variants]


def _address(env: str, variant: Variant, axes: Mapping[str, Any]) -> Address:
    env_axes = {"variant": variant or ""} if isinstance(variant, str) or variant is None else dict(variant)
    name = env_axes.pop("variant", "")
    for axis in env_axes.keys() & axes.keys():
        raise InputError(f"{env}: {axis} is set twice, for one world and for all")
    return Address.of(env, name, {**axes, **env_axes})


def _listed_pools(
    count: int, env: str, pools: Sequence[Sequence[Variant]], given_twice: Any, axes: Mapping[str, Any]
) -> list[DomainPool]:
    if given_twice:
        raise InputError(f"{env}: give either variants or pools")
    if len(pools) != count or not all(pools):
        raise InputError(f"{env}: {len(pools)} pools for {count} envs, each of one variant at least")
    return [_listed_pool([_address(env, variant, axes) for variant in pool]) for pool in pools]


def _listed_pool(addresses: Sequence[Address]) -> DomainPool:
    for address in addresses:
        if address.axes.randomise:
            raise InputError(f"{address}: is a pool itself, and cannot be part of one")
    return DomainPool(tuple(addresses), np.zeros((len(addresses), 0)), (), None)


def _first_alike(tasks: Mapping[str, BoundTask]) -> dict[str, str]:
    """Per address the first one whose task is evaluated by the same numbers: they can take each other's place."""
    firsts: dict[str, BoundTask] = {}
    alike: dict[str, str] = {}
    for text, task in tasks.items():
        alike[text] = next((other for other, first in firsts.items() if task.evaluates_as(first)), text)
        firsts.setdefault(alike[text], task)
    return alike


def _refuse_unless_alike(every: Mapping[str, tuple[EnvSpec, mujoco.MjModel, BoundTask, Variation]]) -> None:
    addresses = list(every)
    digests = [task.interface.digest() for _, _, task, _ in every.values()]
    for address, digest in zip(addresses, digests, strict=True):
        if digest != digests[0]:
            raise InputError(f"{address} has other slots than {addresses[0]}: they cannot share a batch")
    states = [(model.nq, model.nv) for _, model, *_ in every.values()]
    for address, state in zip(addresses, states, strict=True):
        if state != states[0]:  # play adds joints that are no slots
            raise InputError(f"{address} has other joints than {addresses[0]}: they cannot share a batch")


def _refuse_other_layouts(models: Mapping[str, mujoco.MjModel]) -> None:
    """Refuse models of which an env cannot take one after the other: their states have other sizes."""
    sizes = {address: _sizes(model) for address, model in models.items()}
    addresses = list(sizes)
    for address in addresses:
        if sizes[address] != sizes[addresses[0]]:
            raise InputError(
                f"{address} differs from {addresses[0]} in more than numbers: no env can be one after the other"
            )


def _sizes(model: mujoco.MjModel) -> dict[str, int]:
    names = (name for name in dir(model) if name.startswith("n") and name not in _TEXT_SIZES)
    return {name: size for name in names if isinstance(size := getattr(model, name), int)}
