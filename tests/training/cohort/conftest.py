"""A source policy, and jobs that use it."""

from collections.abc import Callable

import pytest

from tests.training.cohort.small import job, run
from trl_suite.mechanisms import methods
from trl_suite.networks.policy import Policy
from trl_suite.training.training_run import TrainingOutcome, TrainingRun


@pytest.fixture(scope="session")
def source() -> Policy:
    outcome = run([job(seed=7)])[0]
    assert isinstance(outcome, TrainingOutcome)
    return outcome.policy


@pytest.fixture
def make_job(source: Policy) -> Callable[..., TrainingRun]:
    def made(seed: int = 0, method: str = "scratch", **more) -> TrainingRun:
        definition = more.get("definition") or methods.find(method)
        return job(seed, method, source=source if definition.needs_source else None, **more)

    return made
