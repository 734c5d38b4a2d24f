"""What the command line does: each function takes parsed arguments, calls the library, prints, and returns what --json prints."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from edgepers.config import Settings, format_size
from edgepers.errors import BusyError, UsageError, VerdictError

if TYPE_CHECKING:  # --help loads no torch
    from edgepers.annotate.sources import Source
    from edgepers.personalize import Personalizer
    from edgepers.state.buffer import Buffer
    from edgepers.state.folder import State
    from edgepers.streams import DialogueSet


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that are given on the command line."""
    names = {f.name for f in fields(Settings)}
    return {k: v for k, v in vars(args).items() if k in names and k != "stream"}


def _open(
    args: argparse.Namespace, *, make: bool = False, total: int | None = None, source: "Source | None" = None
) -> "Personalizer":
    """A state with its settings, which entering it opens."""
    from edgepers.state.folder import State

    if not make:
        State(args.state).require()
    from edgepers.cli.console import Console
    from edgepers.personalize import Personalizer

    explain = None if not getattr(args, "explain", False) else sys.stderr if args.json else sys.stdout
    listener = Console(total, explain)
    return Personalizer(args.state, _given(args), source=source, listener=listener, quarantine=args.quarantine)


def _open_buffer(
    args: argparse.Namespace, *, write: bool = False, given: Sequence[str] = ("key_file",)
) -> "tuple[State, Settings, Buffer]":
    """What needs no model: the state, its settings with those of the command line that are `given`, and its buffer."""
    from edgepers.privacy.keyring import key_source
    from edgepers.state.buffer import Buffer
    from edgepers.state.folder import State

    state = State(args.state)
    state.require()
    settings = state.settle({name: vars(args)[name] for name in given if vars(args).get(name) is not None})
    quarantine = getattr(args, "quarantine", False)
    return (
        state,
        settings,
        Buffer(state.folder, settings.storage if write else None, keys=key_source(settings), quarantine=quarantine),
    )


def _read_files(
    args: argparse.Namespace, owner: "Personalizer", *, answers: bool = True
) -> "tuple[Any, list[DialogueSet]]":
    """The stream and the test set that are named, opened and read once, and the file of answers where `answers` are wanted.

    What is wrong with any of them is said before a folder is made or a model loaded.
    """
    from edgepers.evaluate.evaluator import test_sets

    stream = getattr(args, "stream", None)
    if stream == "-" and getattr(args, "annotations", "") == "gold":
        raise UsageError(
            "--annotations gold looks references up in the stream again, which standard input cannot do; give a file"
        )
    opened = None if stream is None else owner.open_stream(stream)
    test = test_sets(getattr(args, "eval", None))
    if answers or "annotations" in vars(args):
        owner.read_answers()
    return opened, test


def run(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args, make=True, total=args.limit)
    stream, test = _read_files(args, owner)
    with owner:
        report = owner.run(stream, test=test, limit=args.limit, strict=args.strict)
    return _shown(args, report, "run_summary")


def select(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args, make=True, total=args.limit)
    stream, _ = _read_files(args, owner, answers=False)
    with owner:
        report = owner.select(stream, limit=args.limit, strict=args.strict)
    return _shown(args, report, "run_summary")


def annotate(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args)
    _read_files(args, owner, answers=not args.requests)
    with owner:
        if args.requests:
            requests = [
                {"id": kept.id, "question": kept.question, "response": kept.response, "reference": ""}
                for kept in owner.requests()
            ]
            if not args.json:
                print("\n".join(json.dumps(request, ensure_ascii=False) for request in requests))
            return {"requests": requests}
        outcomes = owner.annotate()
        left = len(owner.requests())
    if not args.json:
        print(f"answers: {outcomes or 'none'}; {left} requests still open")
    return {"outcomes": outcomes, "open": left}


def synthesize(args: argparse.Namespace) -> dict[str, Any]:
    with _open(args) as owner:
        made = owner.synthesize()
    if not args.json:
        for question, response in made["pairs"]:
            print(f"{question}\n    -> {response}")
        print(f"{made['synthesized']} variations of {made['sets']} sets kept; refused: {made['refused'] or 'none'}")
    return made


def train(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args)
    _, test = _read_files(args, owner, answers=False)
    with owner:
        done = owner.train(test=test)
    return _shown_round(args, done)


def round(args: argparse.Namespace) -> dict[str, Any]:
    if args.when_idle is not None:
        return _round_when_idle(args)
    return _round_now(args)


def _round_now(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args)
    _, test = _read_files(args, owner)
    with owner:
        return _shown_round(args, owner.round(test=test))


def _round_when_idle(args: argparse.Namespace) -> dict[str, Any]:
    """The round, or why there was none: for a timer both are fine."""
    from edgepers.config import BUSY
    from edgepers.rounds.idle import nothing_new, wait_until_idle

    state, settings, opened = _open_buffer(args, given=("key_file", "annotations", "pause_when_busy"))
    with opened as buffer:
        reason = nothing_new(state, buffer, settings)
    reason = reason or wait_until_idle(settings.busy_bounds or BUSY, args.when_idle)
    if not reason:
        try:
            return _round_now(args)
        except BusyError as error:
            reason = str(error)
    if not args.json:
        print(f"no round: {reason}")
    return {"round": None, "reason": reason}


def _shown_round(args: argparse.Namespace, done: dict[str, Any]) -> dict[str, Any]:
    if not args.json:
        from edgepers.text import table

        print(table([(key, "-" if value is None else value) for key, value in done.items()]))
    return done


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    owner = _open(args)
    _, test = _read_files(args, owner, answers=False)
    with owner:
        found = owner.evaluate(test)
    if not args.json:
        from edgepers.text import table

        keys = ("questions", "rouge1_before", "rouge1_after", "floor_echo", "floor_constant", "adapter")
        print(
            table([(key, f"{found[key]:.4f}" if isinstance(found[key], float) else found[key] or "-") for key in keys])
        )
    return found


def status(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.report.overview import contents, overview
    from edgepers.report.report import report

    state, settings, opened = _open_buffer(args)
    with opened as buffer:
        found = report(state, buffer, settings)
        found |= overview(buffer, settings)
        if args.json or args.plot is not None:  # every value of every set: each record is opened
            found |= contents(buffer)
    if args.plot is not None:
        from edgepers.report.pictures import state_picture, write_picture

        write_picture(args.plot, state_picture, found)
        print(f"picture: {args.plot}", file=sys.stderr)
    return _shown(args, found, "status_summary")


def rollback(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.state.rollback import roll_back

    state, _, opened = _open_buffer(args, write=True)
    with opened as buffer:
        done = roll_back(state, buffer)
    if not args.json:
        print(f"withdrawn: {done['withdrawn']}; published now: {done['published'] or 'the base model'}")
    return done


def chat(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.annotate.sources import ask
    from edgepers.chat.terminal import chat

    with _open(args, make=True, source=ask()) as owner:
        return chat(owner, write=sys.stderr if args.json else None)


def forget(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.state.forget import find, finish_forgetting, forget

    state, _, opened = _open_buffer(args, write=True)
    with opened as buffer:
        finish_forgetting(state, buffer)
        done = forget(state, buffer, find(buffer, name=args.id, matching=args.matching, everything=args.all))
    if not args.json:
        withdrawn = ", ".join(done["withdrawn"])
        print(
            f"forgotten: {len(done['forgotten'])} sets; withdrawn adapters: {withdrawn or 'none'}; "
            f"published now: {done['published'] or 'the base model'}"
        )
    return done


def lexicon(args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from edgepers.select.lexicon import PACKAGED, load_lexicons
    from edgepers.select.suggest import suggest, write_suggestions
    from edgepers.streams import open_stream

    if args.with_packaged and args.out is None:
        raise UsageError("--with-packaged copies lexicons to --out; give --out DIR")
    invalid, first = 0, ""

    def complain(message: str) -> None:
        nonlocal invalid, first
        invalid, first = invalid + 1, first or message

    found = suggest(
        open_stream(args.stream),
        load_lexicons(args.lexicons),
        domains=args.domains,
        words_each=args.words,
        limit=args.limit,
        references=args.references,
        complain=complain,
    )
    beside = (args.lexicons or PACKAGED) if args.with_packaged else None
    files = write_suggestions(args.out, found, args.stream, beside) if args.out else []
    if invalid:
        print(f"edgepers: skipped {invalid} malformed lines; first: {first}", file=sys.stderr)
    if not args.json:
        print(found.summary())
        if found.domains and files:
            print(f"written to {args.out}; edit and rename them, then give --lexicons {args.out}")
    return {**asdict(found), "invalid": invalid, "files": [str(file) for file in files]}


def export(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.export.export import export

    state, settings, opened = _open_buffer(args)
    with opened as buffer:
        published = buffer.progress.published
    done = export(state, settings, published, args.out, form=args.format, adapter=args.adapter, onto=args.onto)
    if not args.json:
        print(
            f"{done['out']}: adapter {done['adapter']} of {done['base']}, {done['format']},"
            f" {format_size(done['bytes'])}"
        )
    return done


def guard(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.evaluate.guard import split_reserve
    from edgepers.evaluate.served import guard_served
    from edgepers.export.export import adapter_folder
    from edgepers.text import table

    state, settings, opened = _open_buffer(args)
    with opened as buffer:
        adapter = adapter_folder(state, args.adapter or buffer.progress.published)
        _, reserve = split_reserve(buffer.annotated())
    done = guard_served(
        settings, [(kept.question, kept.wanted) for kept in reserve], adapter, args.served, merged=args.merged
    )
    if not args.json:
        print(table([(key, "-" if value is None else value) for key, value in done.items()]))
    if not done["passes"]:
        raise VerdictError(f"adapter {done['adapter']} on {args.served}: {done['reason']}", done)
    return done


def export_data(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.state.owner_data import owner_data, write_owner_data

    state, _, opened = _open_buffer(args)
    with opened as buffer:
        records = list(owner_data(state, buffer))
    if args.out is not None:
        write_owner_data(args.out, records)
        if not args.json:
            print(f"{args.out}: {len(records)} sets, readable by whoever has the file")
        return {"sets": len(records), "out": str(args.out)}
    if not args.json:
        print("\n".join(json.dumps(record, ensure_ascii=False) for record in records))
    return {"sets": len(records), "records": records}


def plan(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.plan.plan import plan, plan_text, verdict

    found = plan(
        args.model,
        device=args.device,
        memory=args.memory,
        storage=args.storage,
        batch=args.batch,
        tokens=args.tokens,
        rank=args.lora_rank,
        targets=args.lora_targets,
        power_mode=args.power_mode,
    )
    if args.plot is not None:
        from edgepers.report.pictures import plan_picture, write_picture

        write_picture(args.plot, plan_picture, found)
        print(f"picture: {args.plot}", file=sys.stderr)
    if not args.json:
        print(plan_text(found))
    if not found["fits"]:
        raise VerdictError(verdict(found), found)
    return found


def profile(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.cli.profile import check_out, profile, profile_text, write_profile

    def note(text: str) -> None:
        print(f"edgepers: {text}", file=sys.stderr)

    check_out(args.out)
    found = profile(args.stream, Settings.make(_given(args)), sets=args.sets, note=note)
    files = write_profile(args.out, found, note)
    if not args.json:
        print(profile_text(found))
        print(f"\nwritten: {', '.join(map(str, files))}")
    return found


def doctor(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.doctor import examine, findings_text, report, report_text

    findings = examine(args.state)
    found = report(findings)
    if args.report:
        found["report"] = report_text(findings, args.state)
    if not args.json:
        print(found["report"] if args.report else findings_text(findings), end="" if args.report else "\n")
    if found["failed"]:
        raise VerdictError(
            f"{len(found['failed'])} of {len(findings)} checks failed: {', '.join(found['failed'])}", found
        )
    return found


def systemd(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.rounds.systemd import service_of, units, write_units
    from edgepers.state.folder import State

    service = service_of(State(args.state), at=args.at, user=args.user, encrypted=args.encrypted)
    made = units(service)
    if args.out is not None:
        write_units(args.out, made)
        print(f"written to {args.out}: {', '.join(made)}", file=sys.stderr)
    if not args.json:
        print("\n".join(f"# --- {name}\n{text}" for name, text in made.items()), end="")
    return {"units": made, "memory_high_bytes": service.planned_bytes, "memory_max_bytes": service.memory_bytes}


def demo(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.cli.demo import demo

    return demo(args.out, seed=args.seed, say=(lambda text: print(text, file=sys.stderr)) if args.json else print)


def _shown(args: argparse.Namespace, report: dict[str, Any], summary: str) -> dict[str, Any]:
    if not args.json:
        from edgepers.report import summary as summaries

        print(getattr(summaries, summary)(report))
    return report
