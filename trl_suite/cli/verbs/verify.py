"""`trl-suite verify`: the certificates of variants, computed now."""

from rich.progress import track
from rich.table import Table

from trl_suite import content
from trl_suite.cli.arguments import Verify
from trl_suite.errors import InputError
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.certificate import Certificate, certify, outdated, write
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.outside.shift_certificate import certify_shift


def execute(arguments: Verify) -> int:
    """Compute, store and print the certificates; return 0, or 1 where one does not prove its variant."""
    if arguments.env.startswith(FOREIGN):
        return _outside(arguments)
    pairs = _wanted(arguments)
    errors = Terminal(stderr=True)
    certificates = [certify(env, variant) for env, variant in track(pairs, "verifying", console=errors, transient=True)]
    if not arguments.dry:
        for env in dict.fromkeys(env for env, _ in pairs):
            if content.is_installed(content.find("envs", env)):
                errors.print(f"{env} is part of the installed suite: nothing is stored", style="yellow")
            else:
                write(env, [certificate for certificate in certificates if certificate.env == env])
    return _print_all(certificates, arguments)


def _outside(arguments: Verify) -> int:
    """Compute and print the certificate of a shift of an env of another package, which has no folder to store it in."""
    if arguments.variant or arguments.missing:
        raise InputError(f"{arguments.env}: give the shift in the address alone: '{FOREIGN}ID?gravity=1.5'")
    return _print_all([certify_shift(arguments.env)], arguments)


def _print_all(certificates: list[Certificate], arguments: Verify) -> int:
    if arguments.json:
        print_json(certificates)
    else:
        _print(certificates)
    return 0 if all(certificate.proved for certificate in certificates) else 1


def _wanted(arguments: Verify) -> list[tuple[str, str]]:
    """Return each env and variant that is asked for: `half-cheetah gravity-1.5`, or `half-cheetah.gravity-1.5`."""
    if not arguments.env:
        return [(env, variant) for env in content.names("envs") for variant in _variants(env, "", arguments)]
    address = Address.parse(arguments.env)
    if any(address.axes.axes()):
        raise InputError(f"{arguments.env}: certificates are of the variants that the table of '{address.env}' names")
    if address.variant and arguments.variant:
        raise InputError(f"{arguments.env}: has its variant already, and another is given: '{arguments.variant}'")
    variant = address.variant or arguments.variant
    return [(address.env, name) for name in _variants(address.env, variant, arguments)]


def _variants(env: str, variant: str, arguments: Verify) -> list[str]:
    if arguments.missing:
        return [name for name in outdated(env) if variant in ("", name)]
    return [variant] if variant else list(load(env).variants)


def _print(certificates: list[Certificate]) -> None:
    table = Table(box=None)
    table.add_column("variant", no_wrap=True)  # a name that can be copied
    for column in (
        "compiled fields that differ",
        "acts on",
        "apart after 1, 10, 100",
        "random policy",
        "",
    ):
        table.add_column(column, overflow="fold")
    for certificate in certificates:
        table.add_row(
            certificate.address,
            ", ".join(certificate.fields) or "none",
            certificate.acts_on,
            ", ".join(f"{distance:.2g}" for distance in certificate.parted.values()),
            f"{certificate.random.mean:,.1f} [{certificate.random.low:,.1f}, {certificate.random.high:,.1f}]",
            "proved" if certificate.proved else "NOT PROVED: " + "; ".join(certificate.problems),
        )
    Terminal().print(table, highlight=False)
