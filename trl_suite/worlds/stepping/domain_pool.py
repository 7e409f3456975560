"""Which worlds an address stands for: one, or the pool that its randomisation draws from; compiles nothing."""

import functools
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.axes.randomisation import DrawnRange, draws
from trl_suite.worlds.axes.variation import Randomisation, RangeSchedule
from trl_suite.worlds.env_spec import load

POOLS_IN_MEMORY = 64  # of addresses whose pools are remembered


class DomainPool(NamedTuple):
    """Addresses of the worlds that an env may be at, an episode long."""

    addresses: tuple[Address, ...]
    shares: NDArray[np.float64]  # (addresses, ranges): where each lies in the ranges, from -1 to 1
    ranges: tuple[DrawnRange, ...]
    schedule: RangeSchedule | None


def domain_pool(address: Address) -> DomainPool:
    """Pool of an address, the address alone where it is not randomised.

    Raises:
        InputError: its ranges are none, or an axis is both drawn and set.
    """
    variation = address.variation(load(address.env))
    if not isinstance(variation.randomise, Randomisation):
        plain = msgspec.structs.replace(address, axes=msgspec.structs.replace(address.axes, randomise=None))
        return DomainPool((plain,), np.zeros((1, 0)), (), None)
    return _pool(str(address), msgspec.json.encode(variation.randomise))


def size(address: str) -> int:
    """Number of models that an env at this address draws from; 1 where it is not randomised.

    Raises:
        InputError: as `domain_pool`.
    """
    return len(domain_pool(Address.parse(address)).addresses)


def refuse_pool(where: str, members: int) -> None:
    """Refuse to draw models where the models of a batch stay what they are.

    Raises:
        InputError: there are several.
    """
    if members > 1:
        raise InputError(f"{where}: physics on Warp draws no models anew at each episode: physics = 'mujoco' does")


@functools.lru_cache(maxsize=POOLS_IN_MEMORY)
def _pool(text: str, written: bytes) -> DomainPool:
    address, randomisation = Address.parse(text), msgspec.json.decode(written, type=Randomisation)
    drawn = draws(randomisation, f"{text}: randomise")
    fixed = msgspec.structs.replace(address.axes, randomise=None)
    addresses = tuple(
        Address(env=address.env, variant=address.variant, axes=fixed.joined(variation, text))
        for variation in drawn.variations
    )
    return DomainPool(addresses, drawn.shares, drawn.ranges, randomisation.schedule)
