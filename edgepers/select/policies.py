"""The policies that `--policy` knows by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepers.errors import UsageError
from edgepers.select import density, kcenter, rules, typical
from edgepers.select.policy import Kept, Newcomer, Policy, Room, Rows

__all__ = ["NamedPolicy", "named_policies", "policy_named", "shrink_order"]

Leaving = Callable[[Kept, npt.NDArray[np.bool_], int], Rows]


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy with what goes with it."""

    decide: Policy
    leaving: Leaving
    needs: tuple[str, ...] = ()

    def __call__(self, newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
        """Decide on a newcomer, as any policy does."""
        return self.decide(newcomer, kept, room)


def named_policies() -> dict[str, NamedPolicy]:
    """Return every policy that has a name, by it."""
    return {
        "quality": NamedPolicy(rules.quality, rules.quality_leaving),
        "aging": NamedPolicy(rules.aging, rules.aging_leaving),
        "density": NamedPolicy(density.density, density.density_leaving),
        "random": NamedPolicy(rules.random, rules.random_leaving),
        "fifo": NamedPolicy(rules.fifo, rules.fifo_leaving),
        "kcenter": NamedPolicy(kcenter.kcenter, kcenter.kcenter_leaving),
        "typical": NamedPolicy(typical.typical, typical.typical_leaving),
        "longest": NamedPolicy(rules.longest, rules.longest_leaving),
        "loss": NamedPolicy(rules.loss, rules.loss_leaving, needs=("loss",)),
    }


def shrink_order(policy: str | Policy, kept: Kept, seed: int, protected: npt.NDArray[np.bool_] | None = None) -> Rows:
    """Order kept sets as they leave when the budget is made smaller.

    Args:
        policy: a name, or a callable; one without an attribute `leaving` lets the oldest leave first.
        kept: the buffer.
        seed: of the state.
        protected: bool [N], rows that leave last; None: the annotated ones.

    Returns:
        Rows of `kept`, each once, the first to leave first: int64 [N].

    Raises:
        UsageError: no policy has this name.
    """
    protected = kept.annotated if protected is None else protected
    rule = policy_named(policy) if isinstance(policy, str) else policy
    leaving: Leaving = getattr(rule, "leaving", rules.fifo_leaving)
    order = np.asarray(leaving(kept, protected, seed), np.int64)
    return np.concatenate([order[~protected[order]], order[protected[order]]])


def policy_named(name: str) -> NamedPolicy:
    """The policy of this name.

    Raises:
        UsageError: there is none.
    """
    known = named_policies()
    if name not in known:
        raise UsageError(f"policy {name!r} is unknown; choose {', '.join(known)}, or give a callable")
    return known[name]
