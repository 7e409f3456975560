"""`trl-suite identify`: a variant that is fitted to a log of a robot's states and controls."""

from collections.abc import Sequence

from rich.table import Table

from trl_suite.cli.arguments import Identify
from trl_suite.errors import InputError
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.certificate import Certificate, certify, write
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.identification.fit_parameters import fit_parameters
from trl_suite.worlds.identification.measured_variant import add_variant, measured_variant, refuse_taken
from trl_suite.worlds.identification.parameter_fit import FittedParameter, fit, imported_sysid
from trl_suite.worlds.identification.state_log import read_log
from trl_suite.worlds.stepping.env import RobotEnv

VAGUE = 4.0  # ends of an interval whose ratio is larger tell little


def execute(arguments: Identify) -> int:
    """Fit, write the variant with its certificate, and print it; return 0, or 1 where nothing proves it."""
    imported_sysid()
    if "." in arguments.env or "?" in arguments.env or ":" in arguments.env:
        raise InputError(f"{arguments.env}: identify measures a variant of an env as it stands, such as half-cheetah")
    spec = load(arguments.env)
    refuse_taken(arguments.env, arguments.name)
    parameters = fit_parameters(spec, arguments.fit)
    env = RobotEnv(arguments.env)
    log = read_log(arguments.log, env.model, env.interface, 1 / env.dt)
    fitted = fit(spec, parameters, log)
    notes = [f"columns that are no slots: {', '.join(log.ignored)}"] if log.ignored else []
    notes += [
        f"the log tells little of {row.parameter.name}: its interval spans a factor of {row.high / row.low:,.0f}"
        for row in fitted
        if row.high > VAGUE * row.low
    ]
    certificate = None
    if not arguments.dry:
        about = f"measured by trl-suite identify from {arguments.log.name}, {len(log.actions):,} control steps"
        path = add_variant(arguments.env, arguments.name, measured_variant(fitted, about))
        certificate = certify(arguments.env, arguments.name)
        write(arguments.env, [certificate])
        notes.append(f"{arguments.env}.{arguments.name} stands in {path}")
    _tell(arguments, fitted, notes, certificate)
    return 0 if certificate is None or certificate.proved else 1


def _tell(
    arguments: Identify, fitted: Sequence[FittedParameter], notes: Sequence[str], certificate: Certificate | None
) -> None:
    rows = [
        {"name": row.parameter.name, "is": row.parameter.form, "number": row.number, "low": row.low, "high": row.high}
        for row in fitted
    ]
    if arguments.json:
        print_json({"variant": f"{arguments.env}.{arguments.name}", "fitted": rows, "certificate": certificate})
        return
    table = Table(box=None)
    for column in ("fitted", "is a", "number", "95 % interval"):
        table.add_column(column)
    for row in fitted:
        table.add_row(row.parameter.name, row.parameter.form, f"{row.number:.4g}", f"[{row.low:.4g}, {row.high:.4g}]")
    Terminal().print(table, highlight=False)
    lines = [*notes, *(f"NOT PROVED: {problem}" for problem in (certificate.problems if certificate else ()))]
    for line in lines:
        Terminal().print(line, highlight=False, soft_wrap=True)
