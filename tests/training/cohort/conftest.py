"""A source policy, and jobs that use it."""

from collections.abc import Callable

import pytest

from tests.training.cohort.small import job, run
from trl_suite.mechanisms import methods
from trl_suite.networks.policy import Policy
from trl_suite.training.job import Job, Outcome


@pytest.fixture(scope="session")
def source() -> Policy:
    outcome = run([job(seed=7)])[0]
    assert isinstance(outcome, Outcome)
    return outcome.policy


@pytest.fixture
def make_job(source: Policy) -> Callable[..., Job]:
    def made(seed: int = 0, method: str = "scratch", **more) -> Job:
        definition = more.get("definition") or methods.find(method)
        return job(seed, method, source=source if definition.needs_source else None, **more)

    return made
