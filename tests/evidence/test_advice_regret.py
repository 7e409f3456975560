"""The advisor's regret: by hand on two pairs, and no rule sees the robot that it is scored on."""

import numpy as np
import pytest

from trl_suite.evidence.results import advice_regret
from trl_suite.evidence.results.advice_regret import AdvicePair
from trl_suite.evidence.statistics.similarity import Probes


def pair(robot: str, zero_shot: float, target: str = "gravity-2.0", **gains: float) -> AdvicePair:
    """Return a pair whose methods gain so much on average over ten seeds."""
    generator = np.random.default_rng(int(100 * zero_shot) % 97 + len(target))
    noise = generator.normal(0, 0.01, 10)
    by_method = {
        name.replace("_", "-"): dict(enumerate((gain + noise - noise.mean()).tolist())) for name, gain in gains.items()
    }
    probes = Probes(zero_shot=zero_shot, layers=(0.1, 0.5, 0.6))
    return AdvicePair(f"{robot}.{target}", robot, probes, by_method | {"scratch": dict.fromkeys(range(10), 0.0)})


def library(*robots: str) -> list[AdvicePair]:
    """Return pairs on which fine-tuning helps near the source and hurts far from it."""
    return [
        pair(robot, zero_shot, f"gravity-{place}", finetune=zero_shot - 0.4, feature_extraction=-0.05)
        for robot in robots
        for place, zero_shot in enumerate((0.9, 0.8, 0.6, 0.1, 0.05, -0.1))
    ]


def test_regret_is_what_the_best_gained_more():
    pairs = [pair("hopper", 0.9, finetune=0.5), pair("walker2d", 0.0, finetune=-0.3)]
    by_rule = {score.rule: score for score in advice_regret.scores(pairs)}
    always = by_rule["always fine-tune"]
    assert always.regret.value == pytest.approx(0.15)  # nothing on the hopper, 0.3 on the walker
    assert (always.saved.value, always.right, always.pairs, always.robots) == (0.0, 1, 2, 2)


def test_a_rule_that_knows_beats_fine_tuning_and_a_null_does_not():
    by_rule = {score.rule: score for score in advice_regret.scores(library("hopper", "walker2d", "half-cheetah"))}
    learned = by_rule["learned from other robots"]
    assert learned.beats_finetuning
    assert learned.regret.value == pytest.approx(0.0, abs=1e-9)
    assert not by_rule["always fine-tune"].beats_finetuning


def test_no_rule_sees_the_robot_that_it_is_scored_on():
    pairs = library("hopper", "walker2d")
    turned = [one._replace(gains=one.gains | {"finetune": {s: 9.0 for s in range(10)}}) for one in pairs[6:]]
    rule = advice_regret.learned_rule(pairs[:6])
    assert [rule(one) for one in turned] == [rule(one) for one in pairs[6:]]
    score = advice_regret.scores(pairs[:6] + turned)[-1]
    assert score.regret.value > 1, "it learned from the hopper what is wrong on the walker"


def test_a_method_that_was_not_measured_falls_back_to_fine_tuning():
    near = pair("hopper", 0.3, finetune=0.2)
    assert near.nearest("critic-warmup") == "finetune"
    assert near.mean_gain("critic-warmup") == near.mean_gain("finetune")


def test_the_rules_carried_over_choose_by_the_zero_shot_return():
    rule = advice_regret.three_regimes([])
    assert [rule(pair("hopper", z, finetune=0.0)) for z in (0.9, 0.05, -0.5)] == [
        "critic-warmup",
        "finetune",
        "scratch",
    ]
    depth = advice_regret.suite_rule([])(pair("hopper", 0.9, finetune=0.0))
    assert depth.startswith(("partial-freeze-", "finetune"))


def test_nothing_is_scored_without_pairs():
    assert all(score.regret.n == 0 for score in advice_regret.scores([]))
    assert advice_regret.advice_pairs([]) == []
