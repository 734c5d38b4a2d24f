"""Trees of messages, as chats with edited questions and answers made anew are stored: the branch that counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgepers.streams.form import JsonObject
from edgepers.streams.notes import Notes

__all__ = ["ANEW", "branch", "made_anew", "named_in", "newest", "unbranched"]

ANEW = "an answer beside the branch that was last seen (made anew, or of another model)"

Nodes = Mapping[str, Any]


def branch(
    nodes: Nodes,
    current: object,
    field: str,
    notes: Notes,
    *,
    parent: str = "parent",
    children: str = "children",
    named: str = "current_node",
    time: Callable[[JsonObject], object] = lambda _: None,
) -> list[JsonObject]:
    """The nodes from the root to the current one, or where that is not known, to the newest leaf, which is said.

    Args:
        nodes: by their names.
        current: name of the last node of the branch; None where it is not known.
        field: names the tree in what is raised.
        notes: told where the newest leaf had to be taken.
        parent: field of a node that names its parent.
        children: field of a node that lists its children; where parents are not named, they are found by these.
        named: field that should name the current node.
        time: when a node was made.

    Raises:
        ValueError: names the field: a node is missing or malformed, or the tree runs in a circle.
    """
    if not nodes:
        raise ValueError(f"'{field}' is empty")
    above = _parents(nodes, parent, children)
    if current is None:
        current = newest(nodes, above, time)
        notes.add(f"no {named}: the newest leaf was taken")
    found: list[JsonObject] = []
    seen: set[str] = set()
    at = current
    while at is not None:
        if not isinstance(at, str) or at not in nodes:
            raise ValueError(f"'{field}' has no message {str(at)[:40]!r}")
        if at in seen:
            raise ValueError(f"'{field}' runs in a circle at {at[:40]!r}")
        seen.add(at)
        node = nodes[at]
        if not isinstance(node, dict):
            raise ValueError(f"'{field}.{at[:40]}' is {type(node).__name__}, not an object")
        found.append(node)
        at = above.get(at)
    return found[::-1]


def named_in(nodes: Nodes, name: object) -> str | None:
    """The name of a node that is there; None for any other value."""
    return name if isinstance(name, str) and name in nodes else None


def unbranched(parents: Sequence[object]) -> bool:
    """Whether no message was answered twice, by what each message names as the one before it."""
    return len(set(map(str, parents))) == len(parents)


def _parents(nodes: Nodes, parent: str, children: str) -> dict[str, object]:
    above: dict[str, object] = {}
    for name, node in nodes.items():
        below = node.get(children) if isinstance(node, dict) else None
        for child in below if isinstance(below, list) else ():
            if isinstance(child, str):
                above.setdefault(child, name)
    for name, node in nodes.items():
        if isinstance(node, dict) and parent in node:
            above[name] = node[parent]
    return above


def newest(nodes: Nodes, above: Mapping[str, object], time: Callable[[JsonObject], object]) -> str:
    """The leaf that was made last; where times are not known, the one that stands last."""
    inner = {name for name in above.values() if isinstance(name, str)}
    leaves = [name for name in nodes if name not in inner] or list(nodes)
    times = {name: time(nodes[name]) if isinstance(nodes[name], dict) else None for name in leaves}
    known = {name: when for name, when in times.items() if isinstance(when, (int, float))}
    if len(known) < len(leaves):
        texts = {name: when for name, when in times.items() if isinstance(when, str)}
        return max(texts, key=lambda name: texts[name]) if len(texts) == len(leaves) else leaves[-1]
    return max(leaves, key=lambda name: known[name])  # of equals the first; times differ where it matters


def made_anew(
    nodes: Nodes, found: list[JsonObject], notes: Notes, is_answer: Callable[[JsonObject], bool], parent: str = "parent"
) -> None:
    """Note the answers that were given to a question of the branch and are not in it."""
    on_it = {id(node) for node in found}
    names = {name: None for name, node in nodes.items() if id(node) in on_it}
    beside = (node for node in nodes.values() if isinstance(node, dict) and id(node) not in on_it)
    notes.left_out(ANEW, sum(named_in(names, node.get(parent)) is not None and is_answer(node) for node in beside))
