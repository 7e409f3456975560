"""Keys about how the runs are read: what is expected of them, which pairs are contrasted, at which steps.

No part of a run: another reading makes no other runs, and any archive can be read anew.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from trl_suite import content
from trl_suite.errors import InputError, unknown
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.method_differences import differences
from trl_suite.mechanisms.methods import Method

Expectation = Literal["sooner", "not sooner"]
MethodPair = tuple[str, str]  # method, and what it is compared with


class ContrastOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pair that differs in more than one factor, and why it is compared all the same."""

    methods: MethodPair
    because: str


Contrasts = Mapping[str, MethodPair | ContrastOptions]


def check_expected(
    where: str,
    expected: Mapping[str, Expectation | dict[str, Expectation]],
    planned: Sequence[str],
    envs: Sequence[str],
) -> None:
    """Refuse expectations of methods or targets that the experiment does not have.

    Raises:
        InputError: the method or target, and the nearest right one.
    """
    for method, expectation in expected.items():
        if method not in planned:
            raise unknown("method", method, planned, f"{where}: expected")
        if isinstance(expectation, dict):
            for env in expectation.keys() - set(envs):
                raise unknown("target", env, envs, f"{where}: expected.{method}")


def check_contrasts(
    where: str, contrasts: Contrasts, planned: Sequence[str], defined: Mapping[str, Method], tuned: bool
) -> None:
    """Refuse a pair that is none of the experiment's, is no pair, or differs in several factors without a reason.

    Args:
        where: opens the message.
        contrasts: by name.
        planned: methods of the experiment.
        defined: methods of its own.
        tuned: whether each method has hyperparameters of its own, which are one factor more.

    Raises:
        InputError: the contrast, and the factors.
    """
    for name, contrast in contrasts.items():
        place = f"{where}: contrast.{name}"
        if not content.is_plain(name):
            raise InputError(f"{place}: {name!r} is no name: {content.PLAIN_RULE}")
        pair = contrast.methods if isinstance(contrast, ContrastOptions) else contrast
        for method in pair:
            if method not in planned:
                raise unknown("method", method, planned, place)
        because = contrast.because.strip() if isinstance(contrast, ContrastOptions) else ""
        _check_pair(place, pair, defined, tuned, because)


def _check_pair(place: str, pair: MethodPair, defined: Mapping[str, Method], tuned: bool, because: str) -> None:
    first, second = (methods.find(name, defined) for name in pair)
    factors = [*differences(first, second), *(["hyperparameters, searched for each method"] if tuned else [])]
    if not factors:
        raise InputError(f"{place}: '{pair[0]}' and '{pair[1]}' do the same: there is nothing to contrast")
    if len(factors) > 1 and not because:
        raise InputError(
            f"{place}: '{pair[0]}' and '{pair[1]}' differ in more than one factor: {', '.join(factors)}; "
            f"say why they are compared: {{ methods = ['{pair[0]}', '{pair[1]}'], because = '...' }}"
        )


def check_read_at(where: str, read_at: Sequence[int], every: int, steps: int) -> None:
    """Refuse steps at which nothing is evaluated.

    Args:
        where: opens the message.
        read_at: env steps.
        every: env steps between two evaluations.
        steps: the budget, whose end is evaluated too.

    Raises:
        InputError: the step, and the evaluations around it.
    """
    if len(set(read_at)) < len(read_at):
        raise InputError(f"{where}: read_at: {list(read_at)} names a step twice")
    for step in read_at:
        if step > steps or (step % every and step != steps):
            below = min(step, steps) // every * every
            near = sorted({max(below, min(every, steps)), min(below + every, steps)})
            raise InputError(
                f"{where}: read_at: nothing is evaluated at step {step:,}; the nearest evaluations are at "
                f"{' and '.join(f'{at:,}' for at in near)} (every {every:,} steps up to {steps:,})"
            )
