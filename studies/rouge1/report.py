r"""What the ROUGE-1 study found, made from its lines alone.

RESULTS.md (one page), every table beside the lines, and the pictures.

Run: python -m studies.rouge1.report [--lines studies/rouge1/results/test.jsonl] [--out studies/rouge1/RESULTS.md]

What was not run reads "untested". The paper's own numbers stand beside ours and are never mixed with them: another
model, other splits, other annotations.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cost_claims import cost_claims
from benchmarks.lines import lines_there
from benchmarks.report import wrapped
from edgepers.evaluate.reserve import LEAST_RESERVE
from studies.rouge1 import RESULTS, worth
from studies.rouge1.cells import POLICIES, ROUNDS, SHARE, STEPS, TRAINED
from studies.rouge1.lines import Line, is_core, plain, study_lines
from studies.rouge1.pictures import plot
from studies.rouge1.statistics import Side
from studies.rouge1.study import RIVAL, SEEDS, UNTESTED, Study, points, pooled, seeds_of, signed, table
from studies.rouge1.tables import (
    answers,
    beside_paper,
    costs,
    equal,
    owners,
    owners_gains,
    sweep,
    tests,
    tokens,
    tokens_apart,
    whole_system,
)

__all__ = ["details", "main", "report"]

ALL_SEEDS = ",".join(map(str, range(SEEDS)))
LEAST_PASSING = 0.3  # of variations, or synthesis is not testable on a model
ASK = "python -m studies.rouge1.run ../shared/data --part test"

HEAD = """# ROUGE-1: what selecting and synthesizing gave

Made by `python -m studies.rouge1.report` from [{part}](results/{part}) alone; [PROTOCOL.md](PROTOCOL.md) says what a
cell is, and was written before. Model: the packaged one (8 M parameters; weak, so that its figures stand for no larger
one). {cells} cells, {core} of them of the core; {machines}; commits {commits}. No meter on this machine: joules read
"{untested}". [Every table]({tables}).
"""


def verdict(study: Study) -> str:
    """What the default policy is to be, first of all."""
    against = pooled(study.tested(Side("quality", "repeat"), Side("random", "repeat")))
    kept, asked = study.passing()
    if against is None:
        first = f"**Whether `quality` pays over `random`: {UNTESTED}.**"
    elif against.seeds < SEEDS:
        first = (
            f"**Interim, {against.seeds} of {SEEDS} seeds: `quality` {signed(against)} points over `random` at equal"
            " work, pooled.**"
        )
    elif against.low > 0:
        first = f"**`quality` stays the default: {signed(against)} points over `random` at equal work, pooled.**"
    else:
        first = (
            f"**`quality` is not shown to pay over `random`: {signed(against)} points at equal work, pooled. So"
            f" `{RIVAL}`, the best simple"
            f" policy on development rows, became the default.**"
        )
    if not asked:
        return f"{first} Synthesis: {UNTESTED}."
    if kept < LEAST_PASSING * asked:
        return (
            f"{first} Synthesis is not testable on this model: {kept} of {asked} variations ({kept / asked:.0%}) pass"
            " the check."
        )
    synthesis = pooled(study.tested(Side("quality", "synthesis"), Side("quality", "repeat")))
    share = f"{kept / asked:.0%} of variations pass the check"
    told = (
        f"{first} Synthesis: {UNTESTED if synthesis is None else signed(synthesis)} points over the same sets"
        f" repeated; {share}."
    )
    return f"{told} {at_equal_tokens(study)}".rstrip()


def at_equal_tokens(study: Study) -> str:
    """The two questions where trained tokens are equal, too."""
    sides = Side("quality", "repeat"), Side("random", "repeat"), Side("quality", "synthesis")
    quality, rival, varied = (equal(side) for side in sides)
    found, synthesis = pooled(study.tested(quality, rival)), pooled(study.tested(varied, quality))
    if found is None:
        return ""
    also = "" if synthesis is None else f"; synthesis {signed(synthesis)}"
    pairs = ((quality, rival), (varied, quality))
    most = max(abs(share) for one, other in pairs for of in tokens_apart(study, one, other).values() for share in of)
    return f"With trained tokens equal within {most:.1%}, too ({seeds_of(found)}): {signed(found)}{also}."


def floors(study: Study) -> str:
    """What costs nothing, beside the best of what was trained."""
    at = {arm: study.over_all("", arm) for arm in ("base", "echo", "constant")}
    best = study.best_trained()
    if best is None or None in at.values():
        return ""
    told = ", ".join(f"{arm} {points(mean)}" for arm, mean in at.items())
    return (
        f"Floors, mean of four data sets: {told}; the best of what was trained is {best[1]}, `{best[0]}`, with"
        f" {points(best[2])}."
    )


def limits(study: Study) -> str:
    """Why policies differ by as little as they do, as far as the lines tell."""
    base, gap, best, spread = study.over_all("", "base"), study.gap(), study.best_trained(), study.spreads()
    told = []
    if base is not None and gap is not None and best is not None:
        told.append(
            f"The gap from the base model to an adapter of the whole annotated stream is {gap:+.1f} points; the best"
            " of what was"
            f" trained on some 25 sets gains {best[2] - base:+.1f} of them, so little is left for a choice of sets to"
            " change."
        )
    if spread is not None:
        between, chance, seeds = spread
        told.append(
            f"Means of the {len(POLICIES)} policies (*repeat*, {seeds} seeds) differ by a standard deviation of"
            f" {between:.2f} points within"
            f" a data set; seeds alone would make them differ by {chance:.2f}."
        )
    return " ".join(told)


def guarded(study: Study) -> str:
    """What the guard did in the cells that have it on."""
    reasons = [(line["published"], line["reason"]) for line in study.core if line["arm"] == "guarded"]
    published = sum(there for there, _ in reasons)
    unjudged = sum(reason == "unguarded" for _, reason in reasons)
    why = f"by general perplexity alone: fewer than {LEAST_RESERVE} sets in reserve"
    return f"; {published} of {len(reasons)} adapters let out, {unjudged} of them {why}" if reasons else ""


def claims(study: Study) -> str:
    """Claim, command, number."""
    quality, rival = Side("quality", "repeat"), Side(RIVAL, "repeat")

    def differs(one: Side, other: Side, share: float = SHARE) -> str:
        found = pooled(study.tested(one, other, share))
        return UNTESTED if found is None else f"{signed(found)}, {seeds_of(found)}"

    rows = [
        (
            f"`quality` over `{other}`",
            f"--policies quality,{other} --arms repeat --seeds {ALL_SEEDS}",
            differs(quality, Side(other, "repeat")),
        )
        for other in ("random", "fifo", "kcenter")
    ]
    varied = differs(Side("quality", "synthesis"), quality)
    rows.append(
        (
            "three variations a set over the same sets repeated",
            f"--policies quality --arms repeat,synthesis --seeds {ALL_SEEDS}",
            varied,
        )
    )
    of_tokens = f"--policies quality,random --arms repeat-by-tokens --seeds {ALL_SEEDS}"
    rows.append(
        (
            "`quality` over `random`, at equal trained tokens",
            of_tokens,
            differs(equal(quality), equal(Side("random", "repeat"))),
        )
    )
    of_tokens = f"--policies quality --arms repeat-by-tokens,synthesis-by-tokens --seeds {ALL_SEEDS}"
    equally_varied = differs(equal(Side("quality", "synthesis")), equal(quality))
    rows.append(
        ("three variations a set over the same sets repeated, at equal trained tokens", of_tokens, equally_varied)
    )
    gap = study.gap()
    rows.append(
        (
            "annotating the whole stream over the base model",
            "--arms base,all",
            UNTESTED if gap is None else f"{gap:+.1f}",
        )
    )
    for arm, _, gain in owners_gains(study):
        of = f"--data owners --policies fifo --arms base,{arm}"
        rows.append((f"an owner's own sets over the base model: {arm}", of, f"{signed(gain)}, {seeds_of(gain)}"))
    ours, bins = Side(RIVAL, "synthesis"), Side("bins", "repeat")
    for share in study.shares():
        closed, theirs = (study.closed(side.policy, side.arm, share) for side in (ours, bins))
        more = UNTESTED if closed is None or theirs is None else f"closes {closed:.0%} of that gap, bins {theirs:.0%}"
        rows.append(
            (
                f"dense, `{RIVAL}`, synthesis over bins of 22 KB, {share:.0%} of bytes (aim: 38% more of that gap"
                " closed)",
                f"--policies bins,{RIVAL} --arms repeat,synthesis --share {share:g}",
                f"{differs(ours, bins, share)}; {more}",
            )
        )
    for arm, what in (
        ("retrieval", "the same sets in the prompt over trained on"),
        ("warm", "warm over fresh starts, each with 25 steps a round"),
        ("guarded", "with the guard over without"),
    ):
        told = differs(Side(RIVAL, arm), rival) + (guarded(study) if arm == "guarded" else "")
        rows.append((what, f"--policies {RIVAL} --arms repeat,{arm}", told))
    rows = [(what, f"`{options}`", number) for what, options, number in rows]
    name, correlation = worth.best(lines_there(RESULTS / "worth.jsonl")) or ("", UNTESTED)
    told = f"rank correlation of the best score{f', {name},' * bool(name)} with what a set is worth"
    return table(
        ["claim", "command", "number"], [*rows, (told, "`python -m studies.rouge1.worth ../shared/data`", correlation)]
    )


def report(study: Study, part: str) -> str:
    """The page."""
    lines = [*study.lines, *study.of_owners]
    head = HEAD.format(
        part=part,
        cells=len(lines),
        core=len(study.core),
        machines="; ".join(sorted({f"{line['device']}, {line['isa']}" for line in lines})),
        commits=", ".join(sorted({line["commit"] for line in lines})),
        untested=UNTESTED,
        tables=f"results/{part.removesuffix('.jsonl')}.md",
    )
    picture = f"![policies, rounds, storage, scores, variations, worth](results/{part.removesuffix('.jsonl')}.png)"
    head += f"\n{verdict(study)} {floors(study)} {limits(study)}\n\n{picture}\n"
    sections = [
        (
            "Claims",
            "Points are hundredths of ROUGE-1 F, pooled over the four confirmatory data sets, [95 %]. Commands are"
            f" `{ASK}` and what stands"
            " there, unless they are whole.",
            claims(study),
        ),
        (
            "What it costs",
            "Two cores without a GPU, each number from the lines that its command left in [results](results); more in"
            " [LOG.md](../../benchmarks/LOG.md).",
            table(
                ["claim", "command", "number"],
                [(what, f"`{command}`", number) for what, command, number in cost_claims()],
            ),
        ),
        ("Answers", "Mean ROUGE-1 F in points, over rows and seeds.", answers(study)),
    ]
    return head + _told(sections)


def details(study: Study, part: str) -> str:
    """Every table that is not on the page."""
    sections = [
        ("Tests", "As PROTOCOL.md has them; 10,000 draws, seeds and dialogues drawn with replacement.", tests(study)),
        (
            "Whole system",
            "Against the paper's layout, at equal bytes and steps; annotations are those that fit.",
            whole_system(study),
        ),
        (
            "Trained tokens",
            "Sets, steps and batches are equal, lengths are not; by tokens, batches give way. Differences in %, above"
            " 2 % in bold.",
            tokens(study),
        ),
        ("Cost", "CPU seconds of one cell without its measuring; scoring is that of the whole stream.", costs(study)),
        (
            "Learning curve",
            "After one, two and three rounds of 16 annotations. The paper's figure 2 has sets seen instead.",
            sweep(
                study,
                "rounds",
                lambda line: line["rounds"],
                lambda line: line["share"] == SHARE and line["arm"] == "repeat",
            ),
        ),
        (
            "Storage",
            "Share of the stream's stored bytes, at least 48 KB, which is more than 5 % of each: 2 % would be the"
            " same.",
            sweep(study, "share", lambda line: line["share"], full),
        ),
        (
            "Variations a set",
            "Asked of the model for each annotated set; the paper's figure 3 has 1 to 9 on MedDialog, .241 to .345.",
            sweep(
                study,
                "variations",
                lambda line: int(line["arm"].partition("@")[2] or TRAINED["synthesis"]["generations"]),
                lambda line: (
                    is_core(line) and line["policy"] == "quality" and line["arm"].partition("@")[0] == "synthesis"
                ),
            ),
        ),
        (
            "Entropy of embedding",
            "`quality` with each reading of it.",
            sweep(
                study,
                "entropy",
                lambda line: line["policy"].partition("@")[2] or "windowed",
                lambda line: is_core(line) and line["policy"].startswith("quality") and line["arm"] == "repeat",
            ),
        ),
        (
            "What a set is worth",
            "By how much the development loss rises when it is left out; `python -m studies.rouge1.worth`.",
            worth.table(lines_there(RESULTS / "worth.jsonl")),
        ),
        ("Owners", "MemoryBank; 48 KB hold all of an owner's sets, so policies do not differ.", owners(study)),
        (
            "Beside the paper",
            "Ours (the paper's), *repeat*, points; not to be compared with each other.",
            beside_paper(study),
        ),
    ]
    return f"# ROUGE-1 study: every table\n\nMade with [RESULTS.md](../RESULTS.md) from [{part}]({part}).\n" + _told(
        sections
    )


def _told(sections: Sequence[tuple[str, str, str]]) -> str:
    return "".join(f"\n## {title}\n\n{what}\n\n{body.rstrip()}\n" for title, what, body in sections)


def full(line: Line) -> bool:
    """Of the whole stream, with the protocol's steps, and no variant."""
    return plain(line) and line["policy"] in POLICIES and (line["rounds"], line["steps"]) == (ROUNDS, STEPS)


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, default=RESULTS / "test.jsonl")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    args = parser.parse_args()
    study = Study(study_lines(args.lines))  # one for all: it remembers what it has drawn
    args.out.write_text(wrapped(report(study, args.lines.name)), encoding="utf-8")
    args.lines.with_suffix(".md").write_text(wrapped(details(study, args.lines.name)), encoding="utf-8")
    plot(study, args.lines.with_suffix(".png"), lines_there(RESULTS / "worth.jsonl"))


if __name__ == "__main__":
    main()
