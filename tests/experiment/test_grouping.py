"""Which runs train together, and what is said of it."""

import json
import os
from dataclasses import replace

import pytest
import torch

from tests.experiment.conftest import TINY
from trl_suite import content, machine_resources
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.cli.arguments import Run
from trl_suite.cli.verbs.run import execute
from trl_suite.errors import InputError, NotInstalledError
from trl_suite.experiment.places.local import Processes
from trl_suite.experiment.planning import cohort_keys, grid, run_spec
from trl_suite.experiment.planning.cohort_keys import CohortPlanner, assignments, summary
from trl_suite.experiment.planning.cohort_queue import CohortKey, CohortQueue
from trl_suite.experiment.planning.placement import Where, placement
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.specification import experiment_file
from trl_suite.training import engines, settings
from trl_suite.training.cohort.cohort_key import MemoryNeed
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.warp import warp_library


@pytest.fixture
def table(tmp_path):
    """An experiment whose file is TINY with changes."""

    def made(*changes: tuple[str, str], workers: int = 2, on: Where = "local"):
        text = TINY
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        folder = tmp_path / "study"
        folder.mkdir(exist_ok=True)
        (folder / "experiment.toml").write_text(text)
        experiment = experiment_file.load(folder)
        specs = grid.run_specs(experiment)
        return specs, CohortPlanner(experiment, placement(on, experiment, workers), specs)

    return made


METHODS = 'methods  = ["scratch", "finetune", "random-frozen"]'


def test_methods_and_seeds_and_variants_of_one_robot_are_one_group_and_sources_another(table):
    steps, group = table(
        ('["inverted-pendulum.gravity-1.5"]', '["inverted-pendulum.gravity-1.5", "inverted-pendulum"]')
    )
    found = assignments(steps, group)
    assert {one.engine for one in found} == {"cohort"}
    assert len({one.cohort for one in found}) == 2
    assert {one.cohort for one in found if "/source/" in one.run} == {0}
    assert summary(found) == [
        "2 runs: a cohort on the CPU, PPO of inverted-pendulum, 512 steps: same slots, networks and schedule",
        "12 runs: a cohort on the CPU, PPO of inverted-pendulum, 256 steps: same slots, networks and schedule",
    ]


def test_shapes_that_differ_are_never_stacked(table):
    steps, group = table(
        ('env   = "inverted-pendulum"', 'env   = "link-swimmer"'),
        ('["inverted-pendulum.gravity-1.5"]', '["link-swimmer", "link-swimmer.links-4"]'),
    )
    targets = [one for one in assignments(steps, group) if "/source/" not in one.run]
    assert len({one.cohort for one in targets}) == 2


def test_what_a_cohort_cannot_do_goes_to_sb3_and_the_reason_is_told(table):
    steps, group = table((METHODS, 'methods = ["scratch", "jsrl", "lora", "residual"]'))
    alone = {one.why for one in assignments(steps, group) if one.engine == "sb3"}
    assert alone == {
        "Stable-Baselines3, one run at a time: a guide opens its episodes",
        "Stable-Baselines3, one run at a time: its method has an adapter",
    }


def test_low_rank_products_make_a_cohort_of_their_own(table):
    steps, group = table((METHODS, 'methods = ["scratch", "finetune", "lora"]'))
    found = {one.run.split("/")[1]: one for one in assignments(steps, group) if "/source/" not in one.run}
    assert {one.engine for one in found.values()} == {"cohort"}
    assert found["lora"].cohort != found["scratch"].cohort == found["finetune"].cohort
    assert found["lora"].why.endswith("low-rank products")


def test_an_engine_can_be_asked_for(table):
    steps, group = table((METHODS, METHODS + '\nengine = "sb3"'))
    assert {one.engine for one in assignments(steps, group)} == {"sb3"}
    by_cohort, _ = table((METHODS, METHODS + '\nengine = "cohort"'))
    assert {step.digest for step in steps}.isdisjoint(step.digest for step in by_cohort)
    steps, group = table((METHODS, 'methods = ["scratch", "jsrl"]\nengine = "cohort"'))
    with pytest.raises(InputError, match=r"jsrl, seed 0 cannot train in a cohort: a guide .* 'auto' can"):
        assignments(steps, group)


def test_a_gpu_that_is_missing_is_an_error_only_where_it_is_asked_for(table, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engines.device("auto") == "cpu"
    with pytest.raises(InputError, match="torch finds no CUDA device here; 'auto' takes the CPU"):
        table((METHODS, METHODS + '\ndevice = "cuda"'))


def test_a_cohort_that_does_not_fit_is_cut_before_it_starts(table, monkeypatch):
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=64, batch_size=64, n_epochs=2, hidden=(8, 8))  # TINY's
    evaluation = settings.Evaluation(episodes=2)
    size = cohort_keys.bytes_of(
        TrainingRun(
            env="inverted-pendulum", hyperparameters=hyperparameters, seed=0, steps=1_000, evaluation=evaluation
        )
    )
    room = int((cohort_keys.WORKER_BYTES + 2.5 * size) * 2 / (1 - cohort_keys.SPARE_MEMORY_SHARE))
    monkeypatch.setattr(machine_resources, "available_bytes", lambda: room)
    steps, group = table()
    queue = CohortQueue([step for step in steps if step.role == "target"], lambda _: 1, group)
    sizes = []
    while cohort := queue.take(lambda _: True):
        sizes.append(len(cohort.specs))
    assert sizes == [2, 2, 2]
    monkeypatch.setattr(machine_resources, "available_bytes", lambda: 1)
    with pytest.raises(InputError, match="takes .* MB and a worker has .*: fewer workers"):
        assignments(*table())


def test_a_replay_that_does_not_fit_is_refused_with_the_size_that_would(table, monkeypatch):
    replay = 'algorithm = "sac"\nsac = { buffer_size = 100_000 }\n' + METHODS
    longer = ("steps = 256", "steps = 90_000")
    steps, group = table((METHODS, replay), longer)
    assert {one.engine for one in assignments(steps, group)} == {"cohort"}
    target = next(job for step in steps if (job := run_spec.training_of(step, None)).steps == 90_000)
    rows = 90_000 * 4 * (4 + 1 + 2)
    assert 1.0 < cohort_keys.bytes_of(target) / rows < 20
    room = int(
        (cohort_keys.WORKER_BYTES + cohort_keys.bytes_of(target) - rows // 2) * 2 / (1 - cohort_keys.SPARE_MEMORY_SHARE)
    )
    monkeypatch.setattr(machine_resources, "available_bytes", lambda: room)
    with pytest.raises(
        InputError, match=r"takes .* MB and a worker has .*: .* or a buffer_size of 4[45],\d{3} at most"
    ):
        assignments(*table((METHODS, replay), longer))


def test_the_command_line_shows_the_plan_and_makes_nothing(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "experiment.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    run = Run(experiment=str(folder), plan=True)
    assert execute(run) == 0
    assert "6 runs: a cohort on the CPU" in capsys.readouterr().out
    assert execute(replace(run, json=True)) == 0
    assert len(json.loads(capsys.readouterr().out)) == 8
    assert not (tmp_path / "runs").exists()


def test_memory_that_is_available_is_no_more_than_the_machine_has():
    assert 0 < machine_resources.available_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_sources_go_first_since_others_wait_for_them(table):
    steps, group = table()
    queue = CohortQueue(steps, lambda _: 2, group)
    first, second = queue.take(lambda step: not step.source), queue.take(lambda step: not step.source)
    assert [step.role for step in (*first.specs, *second.specs)] == ["source", "source"]
    assert {step.method for step in queue.take(lambda step: not step.source).specs} == {"scratch"}


def test_a_group_is_handed_out_in_equal_shares_before_the_next_is_begun(table):
    """Whoever is stopped halfway has whole groups, and not half of each."""
    steps, _ = table()
    one = next(step for step in steps if step.role == "target")
    many = [renamed(one, f"{place}-{'ab'[place % 2]}") for place in range(20)]
    queue = CohortQueue(many, lambda _: 2, lambda step: CohortKey(step.folder[-1], "cohort", "", limit=4))
    shares = []
    while cohort := queue.take(lambda _: True):
        shares.append([step.folder[-1] for step in cohort.specs])
    assert shares == [["a"] * 3] * 3 + [["a"]] + [["b"] * 3] * 3 + [["b"]]
    queue.put(many[0])
    queue.put(many[1])
    assert queue.take(lambda _: True).specs == (many[0],)


def renamed(step: RunSpec, folder: str) -> RunSpec:
    return replace(step, folder=folder)


def on_warp(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("[source]", 'physics = "warp"\n\n[source]'), *more]


@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_physics_on_warp_is_said_and_worlds_of_another_structure_are_another_group(table):
    envs = '["inverted-pendulum.gravity-1.5"]'
    steps, group = table(*on_warp((envs, '["inverted-pendulum.gravity-1.5", "inverted-pendulum?timestep=0.5"]')))
    found = assignments(steps, group)
    assert len({one.cohort for one in found}) == 3  # sources, and targets with as many physics steps as them, or more
    assert all("schedule, physics on Warp" in line for line in summary(found))
    assert {group(step).physics for step in steps} == {"warp"}
    assert all(step.specification["physics"] == "warp" for step in steps)


def test_without_a_gpu_physics_is_mujocos_unless_it_is_asked_for(table):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    steps, group = table()
    assert {group(step).physics for step in steps} == {"mujoco"}
    assert all("physics" not in step.specification for step in steps)


def test_physics_on_warp_is_for_cohorts(table, monkeypatch):
    with pytest.raises(InputError, match="physics = 'warp' simulates cohorts: engine = 'sb3' has none"):
        table(("[source]", 'engine = "sb3"\nphysics = "warp"\n\n[source]'))
    if not warp_library.obstacle():
        steps, group = table(*on_warp((METHODS, 'methods = ["scratch", "jsrl"]')))
        with pytest.raises(
            InputError, match=r"physics = 'warp': .* cannot train in a cohort: .*; physics = 'auto' can"
        ):
            [group(step) for step in steps]
    monkeypatch.setattr(warp_library, "obstacle", lambda: "mujoco-warp is not installed")
    warp_library.library.cache_clear()
    with pytest.raises(NotInstalledError, match="mujoco-warp is not installed"):
        table(*on_warp())
    warp_library.library.cache_clear()


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two GPUs and Warp, as far as a plan looks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**30, 2**30))
    monkeypatch.setattr(engines, "physics", lambda requested, on: "warp" if requested != "mujoco" else "mujoco")


def test_where_there_are_gpus_each_has_a_cohort_and_sb3s_runs_have_the_cores(table, two_gpus):
    steps, group = table((METHODS, 'methods = ["scratch", "jsrl"]'), workers=16)
    assert {one.device for one in assignments(steps, group) if one.engine == "cohort"} == {"cuda"}
    place = Processes(16, 2)
    queue, busy = CohortQueue(steps, place.slots, group), {"cpu": 0, "cuda": 0}
    while cohort := queue.take(lambda _: True, lambda device: busy[device] < place.slots(device)):
        busy[cohort.device] += 1
    assert busy == {"cpu": len([step for step in steps if step.method == "jsrl"]), "cuda": 2}
    assert queue.specs  # of the cohorts' runs, which wait for a GPU


def test_where_sb3_is_asked_for_the_gpu_does_not_matter(table, two_gpus):
    steps, group = table((METHODS, METHODS + '\nengine = "sb3"'), workers=16)
    assert {one.device for one in assignments(steps, group)} == {"cpu"}
    queue = CohortQueue(steps, Processes(16).slots, group)
    assert all(len(queue.take(lambda _: True).specs) == 1 for _ in steps)  # one for each core


def test_a_cluster_decides_the_device_by_what_it_is_asked_for(table, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as on a login node
    gpus = (METHODS, METHODS + "\nexecution = { gpus = 1 }")
    for on in ("slurm", "ray"):
        assert {one.device for one in assignments(*table(gpus, on=on))} == {"cuda"}
        assert {one.device for one in assignments(*table(on=on))} == {"cpu"}
        with pytest.raises(InputError, match=f"--on {on}: execution.gpus = 0 asks the cluster for none"):
            table((METHODS, METHODS + '\ndevice = "cuda"'), on=on)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # of which the cluster's nodes know nothing
    assert {one.device for one in assignments(*table(on="slurm"))} == {"cpu"}


@pytest.mark.parametrize(
    ("algorithm", "worlds", "physics"), [("ppo", 12, "warp"), ("ppo", 13, "mujoco"), ("sac", 0, "mujoco")]
)
def test_physics_is_chosen_by_the_table_for_ppo_alone(table, two_gpus, monkeypatch, algorithm, worlds, physics):
    """TINY trains six targets of two worlds each."""
    crossover = engines.PhysicsCrossover(measured=False, cores=16, worlds={"inverted-pendulum": worlds})
    monkeypatch.setattr(engines, "physics_crossover", lambda: crossover)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(cohort_keys, "memory_of", lambda *_: MemoryNeed(1, 1))
    steps, group = table((METHODS, f'algorithm = "{algorithm}"\n' + METHODS))
    assert {group(step).physics for step in steps if step.role == "target"} == {physics}


def test_a_robot_without_a_number_in_the_table_stays_on_the_cores():
    evaluation = settings.Evaluation()
    run = TrainingRun(env="swimmer", hyperparameters=PPOHyperparameters(), seed=0, steps=1, evaluation=evaluation)
    assert not engines.warp_is_faster(run, 10**6)
    assert set(engines.physics_crossover().worlds) <= set(content.names("envs"))


def test_a_gpu_that_is_too_small_cuts_the_cohort_as_little_memory_does(table, two_gpus, monkeypatch):
    """With physics on the cores the learner's arrays are on the card, which may have less room than the machine."""
    steps, group = table((METHODS, METHODS + '\nphysics = "mujoco"'))
    need = cohort_keys.memory_of(run_spec.training_of(steps[-1], None), "mujoco", "cuda")
    assert min(need) > 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (int(2.5 * need.device / 0.8), 2**40))
    assert group(steps[-1]).limit == 2
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1, 2**40))
    with pytest.raises(InputError, match="MB on the GPU and a worker has 0"):
        table((METHODS, METHODS + '\nphysics = "mujoco"'))[1](steps[-1])


def test_a_cohort_that_found_too_little_memory_is_handed_out_in_halves(table):
    steps, group = table()
    queue = CohortQueue([step for step in steps if step.role == "target"], lambda _: 1, group)
    cohort = queue.take(lambda _: True)
    assert len(cohort.specs) == 6
    for spec in cohort.specs:
        queue.put(spec)
        queue.halve(spec, 6)
    assert len(queue.take(lambda _: True).specs) == 3
