"""The bill: env steps of each method, with the sources whose episodes were drawn anew apart."""

from trl_suite.evidence.results import experiment_results, run_accounts

DRAWN = 'half-cheetah?randomise={"ranges":{"gravity":[0.5,2.0]}}'


def billed(experiment) -> dict[str, tuple[int, float]]:
    found = experiment_results.load(experiment.root)
    return {cost.method: (cost.runs, cost.steps) for cost in run_accounts.costs(found)}


def test_a_randomised_source_has_a_line_of_its_own(experiment):
    before = billed(experiment)
    for seed in range(5):
        experiment.write(experiment.source(seed), ranges={"gravity": (0.5, 2.0), "friction": (0.3, 1.0)})
    after = billed(experiment)
    assert after.pop("source, drawn anew at each episode: gravity, friction") == before.pop("source") == (5, 2_000_000)
    assert after == before  # targets that start from it are charged for it elsewhere


def test_one_that_has_not_ended_is_told_from_a_plain_source_too(experiment):
    specification = {"training_variants": [DRAWN]}
    experiment.write(experiment.source(0), [1.0, 2.0], status="running", specification=specification)
    costs = billed(experiment)
    assert costs["source"] == (4, 1_600_000)
    assert costs["source, drawn anew at each episode"] == (1, 10_000)


def test_the_source_is_charged_to_the_target(experiment):
    for seed in range(5):
        experiment.write(experiment.source(seed), ranges={"gravity": (0.5, 2.0)})
    measures = {row.method: row for row in experiment_results.load(experiment.root).measures()}
    assert measures["finetune"].source_steps == 400_000
    assert measures["scratch"].source_steps == 0
