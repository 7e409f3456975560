"""Which worlds a batch holds: an address each, every different one built once; knows nothing of stepping them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.env import action_space, built
from trl_suite.worlds.perturbations import PerturbationSpec, applies, perturbation_spec
from trl_suite.worlds.task import BoundTask, stacked

Variant = str | Mapping[str, Any] | None


class BatchSpec:
    """The worlds of one batch, in order.

    Args:
        count: how many.
        env: the env's name: `half-cheetah`.
        variants: per world a variant's name, a mapping of axes (with `variant` for a named one), or None.
        variant: one of the env's named variants, for all worlds.
        axes: changes of single axes, for all worlds.

    Raises:
        InputError: the env, a variant or an axis does not exist, does not apply, or gives the worlds different slots
            or actions.
    """

    def __init__(
        self,
        count: int,
        env: str,
        variants: Sequence[Variant] | None,
        variant: str | None,
        axes: Mapping[str, Any],
    ) -> None:
        parsed = _parsed_addresses(count, env, variants, variant, axes)
        self.addresses = tuple(map(str, parsed))
        built_by_id = {
            text: built(each_env) for text, each_env in dict(zip(self.addresses, parsed, strict=True)).items()
        }
        order = {text: index for index, text in enumerate(built_by_id)}
        self.model_indices = np.array([order[text] for text in self.addresses])  # (worlds,) which of the different ones
        self.distinct_models = [model for _, model, *_ in built_by_id.values()]
        every = [built_by_id[text] for text in self.addresses]
        self.env_specs = [table for table, *_ in every]
        self.models = [model for _, model, *_ in every]
        self.tasks = [task for _, _, task, _ in every]
        self.variations = [variation for *_, variation in every]
        self.table, self.interface = self.env_specs[0], self.tasks[0].interface
        _refuse_unless_alike(self.addresses, [task.interface.digest() for task in self.tasks])
        self.action_space = self._actions(env)

    @property
    def perturbation_specs(self) -> list[PerturbationSpec] | None:
        """What lies between policy and world, per world; None where nothing does in any."""
        if not any(map(applies, self.variations)):
            return None
        return [perturbation_spec(each_env, self.interface) for each_env in self.variations]

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
        spaces = {str(space): space for space in map(action_space, self.distinct_models)}
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


def _refuse_unless_alike(addresses: Sequence[str], digests: Sequence[str]) -> None:
    for address, digest in zip(addresses, digests, strict=True):
        if digest != digests[0]:
            raise InputError(f"{address} has other slots than {addresses[0]}: they cannot share a batch")
