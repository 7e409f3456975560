import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_checks, experiment_file
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.domain_pool import domain_pool


def test_every_shipped_experiment_can_be_planned(monkeypatch):
    monkeypatch.setattr(experiment_file, "check_fit", lambda *_: None)  # tests/test_readme.py, slow
    for name in content.names("experiments"):
        experiment = experiment_file.load(experiment_file.locate(name))
        assert grid.run_specs(experiment)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question", "qestion", r"experiment.toml: unknown key 'qestion' \(did you mean 'question'\?\)"),
        ("n_epochs", "nepochs", r"unknown key 'nepochs' in \[ppo\] \(did you mean 'n_epochs'\?\)"),
        ("steps = 256", "steps = -256", r"target.steps: Expected `int` >= 1"),
        ("steps = 256", "steps = 256.5", r"target.steps: Expected `int`"),
        ("seeds    = [0, 1]", "seeds = [0, 0]", "seeds: .* names one twice"),
        ("seeds    = [0, 1]", "seeds = []", "seeds: Expected `array` of length >= 1"),
        ('"finetune"', '"fintune"', r"unknown method 'fintune' \(did you mean 'finetune'\?\)"),
        ('"scratch", ', "", "'scratch' is missing"),
        ("gravity-1.5", "gravity-1.4", r"unknown variant 'gravity-1.4' \(did you mean 'gravity-1.5'\?\)"),
        ('"inverted-pendulum"', '"inverted-pendulums"', r"unknown env 'inverted-pendulums'"),
        ("[ppo]", "[ppo]\nlearning_rate = 0.0", r"ppo.learning_rate: Expected `float` > 0.0"),
        ("[ppo]", "[ppo]\ngamma = nan", "ppo.gamma: nan is not a value"),
        ("[source]", 'algorithm = "sac"\nsac = { learning_starts = 100 }\n[source]', "sac: batch_size 256 is larger"),
        (
            "[ppo]",
            "[expected]\nfintune = 'sooner'\n[ppo]",
            r"expected: unknown method 'fintune' \(did you mean 'finetune'",
        ),
        ("[ppo]", "[expected]\nfinetune = 'worse'\n[ppo]", r"expected.*: there is no 'worse'"),
        ("[ppo]", "[method.mine]\nfreze = []\n[ppo]", r"unknown key 'freze' in \[method.mine\]"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_runs(tiny, old, new, message):
    path = tiny / "experiment.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        experiment_file.load(tiny)


def test_td3_without_noise_is_warned_about(tiny):
    path = tiny / "experiment.toml"
    assert experiment_checks.cautions(experiment_file.load(tiny)) == []
    path.write_text(
        path.read_text().replace("[source]", 'algorithm = "td3"\ntd3 = { action_noise = 0.0 }\n[source]', 1)
    )
    assert "action_noise = 0 explores nothing" in experiment_checks.cautions(experiment_file.load(tiny))[0]


def test_a_grid_between_rollouts_is_warned_about(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("every    = 128", "every = 100"))
    (caution,) = experiment_checks.cautions(experiment_file.load(tiny))
    assert caution.startswith("evaluation.every 100 is no multiple of a rollout of 128 steps: ")


def test_an_experiment_that_does_not_exist_lists_those_that_do():
    with pytest.raises(InputError, match=r"unknown experiment 'quickstar' \(did you mean 'quickstart'\?\)"):
        experiment_file.locate("experiments/quickstar")


def test_a_source_stands_before_the_runs_that_need_it_and_is_shared_by_them(tiny):
    steps = grid.run_specs(experiment_file.load(tiny))
    folders = [step.folder for step in steps]
    assert len(folders) == len(set(folders)) == 2 * (1 + 3)
    for step in steps:
        source = step.source
        assert bool(source) == (step.method in ("finetune", "random-frozen"))
        assert not source or folders.index(source) < folders.index(step.folder)


def test_without_a_method_that_copies_no_source_is_trained(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace('["scratch", "finetune", "random-frozen"]', '["scratch"]'))
    assert {step.role for step in grid.run_specs(experiment_file.load(tiny))} == {"target"}


def test_a_source_may_be_trained_on_several_variants(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("steps = 512", 'steps = 512\nvariants = ["gravity-0.5", "gear-1.5"]'))
    source = grid.run_specs(experiment_file.load(tiny))[0]
    assert source.specification["training_variants"] == ["inverted-pendulum.gravity-0.5", "inverted-pendulum.gear-1.5"]


def test_a_source_may_draw_its_worlds_and_every_seed_draws_its_own(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("steps = 512", "steps = 512\nrandomise = {gravity = [0.5, 2.0]}"))
    sources = [step for step in grid.run_specs(experiment_file.load(tiny)) if step.role == "source"]
    drawn = [step.specification["training_variants"] for step in sources]
    assert drawn[0] != drawn[1]
    pools = [domain_pool(Address.parse(address)).addresses for [address] in drawn]
    assert [len(set(pool)) for pool in pools] == [32, 32]  # what each run's episodes are drawn from
    assert all(0.5 <= address.axes.gravity <= 2.0 for pool in pools for address in pool)
    assert drawn == [
        s.specification["training_variants"] for s in grid.run_specs(experiment_file.load(tiny)) if s.role == "source"
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('variants = ["gravity-7"]', "unknown variant 'gravity-7'"),
        ("randomise = {gravty = [0.5, 2.0]}", "source.randomise: unknown axis 'gravty'"),
        ("randomise = {gravity = [2.0, 0.5]}", "source.randomise: gravity: 2 is above 0.5"),
        ("randomise = {gravity = [0.0, 0.5]}", "source.randomise"),
        ("randomise = true", r"source.randomise: the table of 'inverted-pendulum' has no \[randomisation\]"),
        ("schedule = {widen = 0.8, narrow = 0.2}", "source.schedule: widens ranges, and source.randomise has none"),
        ('variants = ["gravity-0.5", "gravity-1.5", "gear-1.5"]', "3 variants need as many worlds, and n_envs is 2"),
        ('variants = ["gravity-0.5"]\nheads = true', "source.heads: give two variants or more"),
        ('variants = ["gravity-0.5", "gear-1.5"]\nheads = true\ndynamics = {}', "either heads or dynamics"),
        ("dynamics = {forward = 0.0, inverse = 0.0}", "forward and inverse are both 0"),
        ("dynamics = {foward = 1.0}", r"unknown key 'foward' .*did you mean 'forward'"),
        ('variants = ["gravity-0.5"]\nrandomise = {gravity = [0.5, 2.0]}', "either variants or randomise"),
    ],
)
def test_a_wrong_source_is_refused(tiny, extra, message):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("steps = 512", f"steps = 512\n{extra}"))
    with pytest.raises(InputError, match=message):
        experiment_file.load(tiny)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ('variants = ["gravity-0.5", "inverted-actions"]\nheads = true', {"heads": True}),
        ("dynamics = {forward = 0.5}", {"dynamics": {"forward": 0.5}}),
    ],
)
def test_how_a_source_is_brought_up_is_part_of_it(tiny, extra, expected):
    path = tiny / "experiment.toml"
    before = [step.digest for step in grid.run_specs(experiment_file.load(tiny))]
    path.write_text(path.read_text().replace("steps = 512", f"steps = 512\n{extra}"))
    steps = grid.run_specs(experiment_file.load(tiny))
    assert steps[0].specification["source_training"] == expected
    assert steps[0].steps == 512, "its cost in steps stands on its record"
    for old, step in zip(before, steps, strict=True):
        assert (old == step.digest) == (step.method == "scratch")


def test_a_method_that_copies_a_replay_makes_the_source_keep_it(tiny):
    path = tiny / "experiment.toml"
    text = (
        path.read_text()
        .replace("question", 'algorithm = "sac"\nquestion', 1)
        .replace('"finetune"', '"finetune", "mine"')
    )
    path.write_text(text + '\n[method.mine]\ncopy = ["actor", "critic", "replay", "optimiser.actor"]\n')
    steps = grid.run_specs(experiment_file.load(tiny))
    assert steps[0].specification["source_training"] == {"keep": ("optimiser.actor", "replay")}


def test_scratch_with_an_equal_total_has_the_sources_steps_before_its_own(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace('"finetune"', '"scratch-equal-total"').replace(', "random-frozen"', ""))
    steps = grid.run_specs(experiment_file.load(tiny))
    assert {step.method: step.steps for step in steps} == {"scratch": 256, "scratch-equal-total": 256 + 512}
    assert {step.role for step in steps} == {"target"}, "it needs no source, only its number of steps"


def test_a_source_with_inverted_actions_is_one_line(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace('"inverted-pendulum"', '"inverted-pendulum.inverted-actions"'))
    assert grid.run_specs(experiment_file.load(tiny))[0].env == "inverted-pendulum.inverted-actions"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('question = "Does', 'question = "Will', set()),
        ("steps = 256", "steps = 384", {"scratch", "finetune", "random-frozen"}),
        ("steps = 512", "steps = 640", {"source", "finetune", "random-frozen"}),
        ("n_epochs = 2", "n_epochs = 3", {"source", "scratch", "finetune", "random-frozen"}),
        ('methods  = ["scratch", ', 'methods = ["scratch", "feature-extraction", ', {"feature-extraction"}),
        ("episodes = 2", "episodes = 3", {"source", "scratch", "finetune", "random-frozen"}),
    ],
)
def test_a_change_makes_new_runs_of_exactly_those_that_it_touches(tiny, old, new, changed):
    path = tiny / "experiment.toml"
    before = {step.folder for step in grid.run_specs(experiment_file.load(tiny))}
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    after = grid.run_specs(experiment_file.load(tiny))
    assert {step.method for step in after if step.folder not in before} == changed


def test_a_replay_that_no_source_can_keep_is_refused(tiny):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace('"finetune"', '"mine"') + '\n[method.mine]\ncopy = ["replay"]\n')
    with pytest.raises(InputError, match="a replay can be copied from SAC or TD3"):
        experiment_file.load(tiny)
    text = 'algorithm = "sac"\n' + path.read_text() + "\n[sac]\nbuffer_size = 400\n"
    path.write_text(text)
    with pytest.raises(InputError, match="'mine': the source's transitions would fill a replay of 400"):
        experiment_file.load(tiny)
    path.write_text(text.replace('copy = ["replay"]', 'copy = ["replay"]\nkeep = {replay = 0.5}'))
    assert experiment_file.load(tiny)
