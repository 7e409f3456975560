"""Numbers as a reader wants them: one spelling for the terminal, the page and the verdict."""

import math
import unicodedata

from trl_suite.evidence.statistics.estimates import Estimate

NOTHING = "\u2013"
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of signs that no view shows


def printable(text: str) -> str:
    """Return a text without signs that a terminal or a page would obey: control characters, marks of direction."""
    return "".join(sign if unicodedata.category(sign) not in UNPRINTABLE else "\ufffd" for sign in text)


def setting(value: object) -> str:
    """Return a hyperparameter, a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def number(value: float, signed: bool = False) -> str:
    """Return `1,234`, `12.3`, `0.45` or a dash for NaN; with a sign on both sides where `signed`."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    size = abs(value)
    digits = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2
    text = f"{size:,.{digits}f}"
    nothing = float(text.replace(",", "")) == 0
    sign = "" if nothing else "\u2212" if value < 0 else "+" if signed else ""
    return sign + text


def times(value: float) -> str:
    """Return a ratio: `3.1x` with a real multiplication sign."""
    return f"{number(value)}\u00d7" if math.isfinite(value) else number(value)


def estimate(estimate: Estimate, signed: bool = False) -> str:
    """Return `+1,180 [+950, +1,410]`, without brackets where there is no interval."""
    text = number(estimate.value, signed)
    return f"{text} {bounds(estimate, signed)}".rstrip()


def bounds(estimate: Estimate, signed: bool = False) -> str:
    """Return `[+950, +1,410]`, or nothing where there is no interval."""
    return f"[{number(estimate.low, signed)}, {number(estimate.high, signed)}]" if estimate.has_interval else ""


def speed_up(estimate: Estimate) -> str:
    """Return `3.1x [1.9, 5.0]`, with a sign where it is a bound."""
    return f"{ratio(estimate)} {bounds(estimate)}".rstrip()


def ratio(estimate: Estimate) -> str:
    """Return the value of a speed-up, with a sign where it is a bound: see `bound_sign`."""
    return _sign(estimate) + times(estimate.value)


def bound_sign(estimate: Estimate) -> str:
    """Return `at least `, `at most `, or `about ` where some pairs bound a ratio from below and others from above."""
    if not estimate.n or not (estimate.at_least or estimate.at_most):
        return ""
    return "about " if estimate.at_least and estimate.at_most else "at least " if estimate.at_least else "at most "


def _sign(estimate: Estimate) -> str:
    signs = {"at least ": "\u2265 ", "at most ": "\u2264 ", "about ": "\u2248 ", "": ""}
    return signs[bound_sign(estimate)]


def percent(estimate: Estimate) -> str:
    """Return a share with its interval: `20 % [1, 72]`."""
    if not estimate.n:
        return NOTHING
    interval = f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]" if estimate.has_interval else ""
    return f"{100 * estimate.value:.0f} %{interval}"


def targets(estimate: Estimate) -> str:
    """Return a number of targets, rounded up: `14 [10, 25]`, or `never`."""
    if not estimate.n:
        return NOTHING
    value, low, high = (_targets(bound) for bound in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]" if estimate.has_interval and low != "never" else value


def _targets(value: float) -> str:
    return "never" if math.isinf(value) else NOTHING if math.isnan(value) else f"{math.ceil(value):,}"


def probability(p: float) -> str:
    """Return a p value: `0.0625`, `< 0.001`, or a dash."""
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3g}"


def steps(value: float) -> str:
    """Return env steps in thousands or millions: `61k`, `1.2M`."""
    if math.isnan(value) or math.isinf(value):
        return number(value)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            text = number(value / unit)
            return (text.rstrip("0").rstrip(".") if "." in text else text) + name
    return number(value)


def duration(seconds: float) -> str:
    """Return wall time: `42 s`, `3 min 5 s`, `2 h 11 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def plural(count: int, noun: str) -> str:
    """Return `1 pair`, `2 pairs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
