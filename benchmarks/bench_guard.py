r"""The guard as a classifier: adapters of known effect on SmolLM2, what it publishes and what it keeps aside.

Run: python -m benchmarks.bench_guard [--out FILE] [--adapters DIR] [--table] [--threads 1]

One line an adapter (`benchmarks.guard_adapters` says which, and what is good and bad), as soon as it is measured; a run
that was cut off goes on behind the last line. A line holds what was measured, not the verdicts: the table judges anew,
by the rules of `edgepers.evaluate.verdict` and by those that they replaced, so that a limit can be changed without
training. Limits were settled with the first adapter of each owner in view.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.guard_adapters import SPECS, Spec, Truth, corrections, kept_beside, known_facts, reserved, scaled, truth
from benchmarks.harness import RESULTS, describe
from benchmarks.lines import append_line, lines_there
from edgepers.assets import general_sets, rehearsal_sets
from edgepers.evaluate.guard import GENERAL_ASKED, PART, SHORT_TOKENS, pairs_of
from edgepers.evaluate.repeats import ANSWER_TOKENS, repeats
from edgepers.evaluate.reserve import SAME_RESPONSE
from edgepers.evaluate.rouge import rouge1_unicode
from edgepers.evaluate.verdict import LIMITS, Evidence, Repeats, judge, perplexity_rise
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.asides import asides_for
from edgepers.rounds.untold import untold_asked, untold_beside
from edgepers.train.trainer import train
from studies.owners.owners import load_owner

__all__ = ["measured", "new_rule", "old_rule", "table"]

Row = dict[str, Any]
OLD_SCALES = (0.75, 0.5, 0.35)


def measured(llm: LanguageModel, spec: Spec, folder: Path, base: Truth | None = None) -> Row:
    """Make an adapter and measure it; `base`: what is known of the base model already."""
    owner, every = load_owner(spec.owner), corrections(spec)
    trained, held = ([one for one in every if reserved(one) == of] for of in (False, True))
    pairs, own = ([(one.question, one.response) for one in part] for part in (trained, held))
    asked_first = [question for question, _ in pairs]
    untold = untold_beside(asked_first)
    began = time.perf_counter()
    if spec.scale == 1:
        asides = asides_for(asked_first) if spec.recipe.asides else ()
        train(llm, pairs, folder, spec.recipe, general=pairs_of(rehearsal_sets()), untold=untold, asides=asides)
    row: Row = {"name": spec.name, "owner": spec.owner, "kind": spec.kind, "sets": len(pairs)}
    row["train_s"] = round(time.perf_counter() - began, 1)
    llm.use_adapter(None)
    without = truth(llm, owner, trained, adapter=False) if base is None else base
    general = pairs_of(general_sets())
    row |= {"own_base": _rounded(llm.losses(own)), "base": without._asdict()}
    general_base = llm.losses(general)
    asked = untold_asked(asked_first)
    row["probes"] = [question for question, _ in (*asked, *general[:GENERAL_ASKED])]
    row["probe_base"] = llm.answer(row["probes"], max_new_tokens=ANSWER_TOKENS)
    row["others"] = kept_beside(owner, trained)
    row["other_base"] = llm.answer(row["others"], max_new_tokens=ANSWER_TOKENS)
    llm.use_adapter(scaled(folder, spec.scale))
    now = truth(llm, owner, trained)
    row |= {"truth": now._asdict(), "effect": now.effect(without)}
    row["own_again"] = [
        any(rouge1_unicode(one.response, other.response) >= SAME_RESPONSE for other in trained) for one in held
    ]
    row["tokens"] = [len(llm.token_ids(response)) for _, response in pairs]
    row["responses"] = [response for _, response in pairs]

    def asked_of() -> Row:
        return {
            "own_after": _rounded(llm.losses(own)),
            "rise": perplexity_rise(general_base, llm.losses(general)),
            "recalled": llm.recalled(pairs),
            "probe_after": llm.answer(row["probes"], max_new_tokens=ANSWER_TOKENS),
            "other_after": llm.answer(row["others"], max_new_tokens=ANSWER_TOKENS),
        }

    began = time.perf_counter()
    row |= asked_of()
    row["guard_s"] = round(time.perf_counter() - began, 1)
    row["scaled"] = {}
    facts = {one.fact for one in trained} - {""}
    for scale in OLD_SCALES:
        if old_rule(row)[0]:
            break
        llm.use_adapter(scaled(folder, spec.scale * scale))
        part: Row = {"own": _rounded(llm.losses(own)), "rise": perplexity_rise(general_base, llm.losses(general))}
        row["scaled"][str(scale)] = part
        if old_rule(row)[0]:
            part["recalled"] = sum(llm.recalled(pairs))
            part["known"] = known_facts(llm, owner, facts)[1] if facts else 0
    if spec.scale == 1 and not new_rule(row)[0]:
        llm.use_adapter(scaled(folder, PART))
        row["part"] = asked_of() | {"known": known_facts(llm, owner, facts)[1] if facts else 0}
    llm.use_adapter(None)
    return row


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def old_rule(row: Row) -> tuple[bool, float]:
    """Whether the guard as it was would publish, and at which scale: by general perplexity and the reserve alone."""
    measurements = [(1.0, row["own_after"], row["rise"])]
    measurements += [(float(scale), one["own"], one["rise"]) for scale, one in row["scaled"].items()]
    for scale, after, rise in measurements:
        evidence = Evidence(base=row["own_base"], before=row["own_base"], after=after, rise=rise)
        if judge(evidence, LIMITS).publish:
            return True, scale
    return False, 1.0


def new_rule(row: Row) -> tuple[bool, float, str]:
    """Whether the guard publishes, at which scale, and why not."""
    whole = _evidence(row, row)
    verdict = judge(whole, LIMITS)
    part = None if verdict.publish or "part" not in row else _evidence(row, row["part"])
    if part is not None and judge(part, LIMITS, whole=whole.recalled).publish:
        return True, PART, ""
    return verdict.publish, 1.0, verdict.reason


def _evidence(row: Row, of: Row) -> Evidence:
    usual = [text for pair in (*pairs_of(general_sets()), *pairs_of(rehearsal_sets())) for text in pair]
    untold = untold_beside([], most=10_000)
    usual += [text for pair in untold for text in pair]
    n = len(row["probes"]) - GENERAL_ASKED
    not_told = sorted({response for _, response in untold})

    def repeated(asked: Sequence[str], after: Sequence[str], without: Sequence[str], told: Sequence[str]) -> Repeats:
        return Repeats(repeats(asked, after, without, told, usual), len(asked))

    def probes(part: slice, told: Sequence[str]) -> Repeats:
        return repeated(row["probes"][part], of["probe_after"][part], row["probe_base"][part], told)

    again = [i for i, twin in enumerate(row["own_again"]) if twin]
    base, after = ([losses[i] for i in again] for losses in (row["own_base"], of["own_after"]))
    return Evidence(
        base=base,
        before=base,
        after=after,
        rise=of["rise"],
        recalled=[said for said, n in zip(of["recalled"], row["tokens"], strict=True) if n <= SHORT_TOKENS],
        untold=probes(slice(0, n), row["responses"]),
        general=probes(slice(n, None), [*row["responses"], *not_told]),
        others=repeated(row["others"], of["other_after"], row["other_base"], row["responses"]),
    )


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of Markdown: each adapter with its effect and both verdicts, then the counts, by owner's part."""
    yield "| adapter | trained | facts known | general loss | never told | effect | before | now |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        was, base = row["truth"], row["base"]
        old, now = _told(*old_rule(row), row), _told(*new_rule(row)[:2], row)
        if reason := new_rule(row)[2]:
            now += f": {reason}"
        never = f"{was['never_told_repeats']} of 20"
        loss = f"{100 * (was['general_loss'] / base['general_loss'] - 1):+.1f} %"
        known = f"{was['known']} of {was['facts']}" if was["facts"] else "none"
        yield (f"| {row['name']} | {row['sets']} | {known} | {loss} | {never} | {row['effect']} | {old} | {now} |")
    yield ""
    for owners in (("emily", "jonas"), ("priya", "lena"), ("omar", "sofia")):
        own = [row for row in rows if row["owner"] in owners]
        yield f"{', '.join(owners)}:"
        yield ""
        yield "| | bad | published before | published now | good | kept aside or weakened before | now |"
        yield "|---|---|---|---|---|---|---|"
        yield f"| adapters | {' | '.join(map(str, _counts(own)))} |"
        neither = [row for row in own if row["effect"] == "neither"]
        were, are = _published(neither, lambda row: old_rule(row)[0]), _published(neither, lambda row: new_rule(row)[0])
        yield ""
        yield f"Neither: {len(neither)}; published before {were}, now {are}."
        yield ""


def _told(publish: bool, scale: float, row: Row) -> str:
    if scale == 1 or not publish:
        return "published" if publish else "kept aside"
    known = row["part" if scale == PART and "part" in row else "scaled"]
    known = known if "known" in known else known[str(scale)]
    return f"published at {scale:.0%}, {known['known']} facts known"


def _published(rows: Sequence[Row], rule: Callable[[Row], bool]) -> int:
    return sum(map(rule, rows))


def _counts(rows: Sequence[Row]) -> tuple[int, ...]:
    bad, good = ([row for row in rows if row["effect"] == effect] for effect in ("bad", "good"))
    return (
        len(bad),
        _published(bad, lambda row: old_rule(row)[0]),
        _published(bad, lambda row: new_rule(row)[0]),
        len(good),
        _published(good, lambda row: old_rule(row) != (True, 1.0)),
        _published(good, lambda row: new_rule(row)[:2] != (True, 1.0)),
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description="The guard as a classifier of adapters of known effect.")
    parser.add_argument("--out", type=Path, default=RESULTS / "guard.jsonl", help="JSON lines to go on from")
    parser.add_argument("--adapters", type=Path, default=Path(tempfile.gettempdir()) / "guard-adapters")
    parser.add_argument("--table", action="store_true", help="of the lines that are there, and nothing else")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rows = lines_there(args.out)
    if not args.table:
        torch.set_num_threads(args.threads)
        llm = LanguageModel.load("smollm2")
        machine = describe()
        base = {row["owner"]: Truth(**row["base"]) for row in rows}
        done = {row["name"] for row in rows}
        for spec in SPECS:
            if spec.name in done:
                continue
            folder = args.adapters / spec.trained
            folder.mkdir(parents=True, exist_ok=True)
            row = measured(llm, spec, folder, base.get(spec.owner))
            base.setdefault(spec.owner, Truth(**row["base"]))
            rows.append(row)
            append_line(args.out, row | machine)
            print(row["name"], row["effect"], flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    _main()
