"""Check which meters of energy can be read."""

import contextlib

from edgepers.doctor.finding import Finding, Subject

__all__ = ["check_energy"]


def check_energy(subject: Subject) -> Finding:
    """Which meters there are, each read once, and what is there but cannot be read."""
    from edgepers.meter.find import find_sources

    sources, lacking, cures = find_sources(subject.root / "sys")
    found = []
    for source in sources:
        with contextlib.closing(source):
            values = source.read()
            parts = ", ".join(
                f"{rail} {value:.1f} {'J so far' if source.counts else 'W'}" for rail, value in values.items()
            )
            found.append(
                f"{source.name}: {parts}"
                + ("" if source.totals else " (no sum of them is known to be the whole: joules are null)")
            )
    told = "; ".join([*found, *lacking])
    return Finding(
        "energy", "warn" if lacking else "ok", told or "no meter here: joules are null in reports", "; ".join(cures)
    )
