import pytest

from trl_suite.evidence.results import number_format
from trl_suite.evidence.statistics.estimates import Estimate

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (12.34, "12.3"),
        (0.456, "0.46"),
        (-7.0, "−7.00"),
        (0, "0"),
        (-0.001, "0.00"),
        (NAN, "–"),
        (INF, "∞"),
    ],
)
def test_number(value: float, text: str):
    assert number_format.number(value) == text


def test_signed_numbers():
    assert [number_format.number(value, signed=True) for value in (350, -350, 0)] == ["+350", "−350", "0"]


def test_estimates():
    found = Estimate(value=3.1, low=1.9, high=5.04, n=5)
    assert number_format.speed_up(found) == "3.10× [1.90, 5.04]"
    assert number_format.speed_up(Estimate(value=3.1, n=1, at_least=True)) == "≥ 3.10×"
    assert number_format.estimate(found, signed=True) == "+3.10 [+1.90, +5.04]"
    assert number_format.speed_up(Estimate()) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(61_200, "61.2k"), (400_000, "400k"), (1e6, "1M"), (2_500, "2.5k"), (0, "0"), (NAN, "–")]
)
def test_steps(value: float, text: str):
    assert number_format.steps(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(41.7, "42 s"), (185, "3 min 5 s"), (7860, "2 h 11 min")])
def test_duration(seconds: float, text: str):
    assert number_format.duration(seconds) == text


def test_probability_and_plural():
    assert [number_format.probability(p) for p in (0.0625, 0.0001, NAN)] == ["0.0625", "< 0.001", "–"]
    assert [number_format.plural(n, "pair") for n in (1, 2)] == ["1 pair", "2 pairs"]
