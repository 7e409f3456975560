"""Many worlds of one address, whoever defines it."""

from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from trl_suite.errors import InputError
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.batch import Batch
from trl_suite.worlds.env import make


def batch_arguments(addresses: Sequence[str]) -> dict[str, Any]:
    """Return what `Batch` takes, besides the number of worlds, for worlds of one env that differ in variant or axes.

    Raises:
        InputError: they are of several envs, or one does not exist.
    """
    parsed = [Address.parse(address) for address in addresses]
    if len({one.env for one in parsed}) > 1:
        raise InputError(
            f"{', '.join(addresses)}: one training is of one env; its worlds may differ in variant and axes"
        )
    variants = [{"variant": one.variant, **dict(one.axes.axes())} for one in parsed]
    return {"env": parsed[0].env, "variants": variants}


def make_vector(address: str, count: int, *, again: bool = False) -> VectorEnv[Any, Any, Any]:
    """Return `count` worlds in this thread.

    Args:
        address: of all.
        count: how many.
        again: whether another episode follows one that has ended, at the step after; otherwise what a world does after
            its first one means nothing, and is not computed where the world is the suite's.

    Raises:
        InputError: there is no such env, variant or axis.
    """
    if not address.startswith(FOREIGN):
        mode = AutoresetMode.NEXT_STEP if again else AutoresetMode.DISABLED
        return Batch(count, threads=1, autoreset_mode=mode, **batch_arguments([address] * count))

    def one() -> gymnasium.Env[Any, Any]:
        return make(address)

    return SyncVectorEnv([one] * count, autoreset_mode=AutoresetMode.NEXT_STEP)
