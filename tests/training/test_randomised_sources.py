"""A source on randomised worlds draws its world anew at each episode, also where it has a single env."""

from collections.abc import Callable

import pytest
import torch

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training import settings
from trl_suite.training.cohort import cohort_training
from trl_suite.training.cohort.cohort_key import bytes_of, cohort_key
from trl_suite.training.sb3 import loop as sb3
from trl_suite.training.training_run import TrainingRun, Unwatched
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.domain_pool import domain_pool
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv

RANDOMISED = "inverted-pendulum?randomise=" + '{"ranges":{"gravity":[0.5,2.0]},"pool":4}'
POOL = {str(address) for address in domain_pool(Address.parse(RANDOMISED)).addresses}
SMALL = {"n_envs": 1, "learning_starts": 200, "batch_size": 16, "hidden": (8,), "buffer_size": 400}
ROTOR = '"joint":"slider","value":1.0'
WITH_PLAY = f'inverted-pendulum?armature={{{ROTOR}}}&randomise={{"ranges":{{"backlash":[0.01,0.05]}},"pool":4}}'
HYPERPARAMETERS = [SACHyperparameters(**SMALL), TD3Hyperparameters(**SMALL)]


def job(hyperparameters: Hyperparameters, variants: tuple[str, ...] = (RANDOMISED,)) -> TrainingRun:
    return TrainingRun(
        env="inverted-pendulum",
        hyperparameters=hyperparameters,
        seed=0,
        steps=240,
        evaluation=settings.Evaluation(every=240, episodes=1),
        training_variants=variants,
    )


def on_sb3(run: TrainingRun) -> None:
    sb3.train(run, Unwatched())


def in_a_cohort(run: TrainingRun) -> None:
    [(_, outcome)] = cohort_training.train([run], [Unwatched()], [None], torch.device("cpu"))
    assert not isinstance(outcome, Exception), outcome


@pytest.mark.parametrize("train", [on_sb3, in_a_cohort])
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS, ids=lambda one: one.algorithm)
def test_a_single_env_is_of_another_variant_episode_by_episode(
    hyperparameters: Hyperparameters, train: Callable[[TrainingRun], None], monkeypatch: pytest.MonkeyPatch
):
    drawn: list[str] = []
    draw = RobotVectorEnv._draw_models

    def recorded(batch: RobotVectorEnv, envs) -> None:
        draw(batch, envs)
        if batch._draws_models:
            assert batch.num_envs == 1
            drawn.append(batch.addresses[0])
            assert batch._physics._models[0] is batch._batch_spec._built[batch.addresses[0]][1]

    monkeypatch.setattr(RobotVectorEnv, "_draw_models", recorded)
    train(job(hyperparameters))
    assert len(drawn) > 8  # episodes of a random policy on this pendulum last some ten steps
    assert set(drawn) == POOL


@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS, ids=lambda one: one.algorithm)
def test_the_models_of_a_pool_are_counted(hyperparameters: Hyperparameters):
    model = built(Address.parse("inverted-pendulum"))[1].nbuffer
    one, more = bytes_of(job(hyperparameters, ())), bytes_of(job(hyperparameters))
    assert more - one >= len(POOL) * model


@pytest.mark.parametrize("train", [on_sb3, in_a_cohort])
def test_play_is_drawn_anew_where_the_env_itself_has_none(train: Callable[[TrainingRun], None]):
    """Its worlds have joints that those of the evaluation lack."""
    train(job(HYPERPARAMETERS[0], (WITH_PLAY,)))


def test_worlds_with_play_and_without_are_no_cohort():
    plain, drawn, played = (
        cohort_key(job(HYPERPARAMETERS[0], variants))
        for variants in ((RANDOMISED,), (WITH_PLAY,), (f"inverted-pendulum?backlash=0.03&armature={{{ROTOR}}}",))
    )
    assert plain != drawn == played
    assert plain == cohort_key(job(HYPERPARAMETERS[0], ()))
