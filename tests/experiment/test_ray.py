"""Runs on a real Ray cluster of two nodes on this machine, one of which is lost while it works."""

import os
import signal

import pytest

from trl_suite.errors import InputError
from trl_suite.experiment.places.on_ray import OnRay
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_keys

from .conftest import Hearing, left_behind, make, results

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_that_is_lost_loses_nothing(cluster, tiny, tmp_path, finished):
    root = tmp_path / "runs"
    place = OnRay(experiment_keys.ExecutionOptions(), cluster.address, None)
    assert place.size == 2
    lost = []

    def lose(step, news):
        if news.step and place.busy == 2 and not lost:
            lost.append(news.run)
            cluster.remove_node(cluster.second, allow_graceful=False)

    tally = make(tiny, root, Hearing(lose), place, checkpoint=0.0, retries=3)
    assert lost
    assert len(tally.done) == 8
    assert results(root) == results(finished)
    assert left_behind(root) == []


def test_the_command_starts_a_cluster_where_there_is_none(tiny, tmp_path, finished):
    found = run(tiny, runs=tmp_path / "runs", on="ray", workers=2)
    assert len(found.tally.done) == 8
    assert results(found.folder) == results(finished)


def test_a_stop_keeps_what_there_is(cluster, tiny, tmp_path, finished):
    root = tmp_path / "runs"

    def stop(step, news):
        if news.step:
            os.kill(os.getpid(), signal.SIGTERM)

    tally = make(
        tiny, root, Hearing(stop), OnRay(experiment_keys.ExecutionOptions(), cluster.address, None), checkpoint=0.0
    )
    assert tally.stopped_by == signal.SIGTERM
    assert len(tally.done) < 8
    make(tiny, root, Hearing(), OnRay(experiment_keys.ExecutionOptions(), cluster.address, None), checkpoint=0.0)
    assert results(root) == results(finished)


def test_a_cohort_that_no_node_has_room_for_is_refused(cluster):
    with pytest.raises(InputError, match=r"no node of the Ray cluster has 64 cores"):
        OnRay(experiment_keys.ExecutionOptions(cores=64), cluster.address, None)
