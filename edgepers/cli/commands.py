"""What each command does: it takes parsed arguments, calls the library, and returns a record and its text.

Results are printed by `main` alone; what is said on the way goes to standard error.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from edgepers.config import Settings, format_size, option_name
from edgepers.errors import BusyError, UsageError

if TYPE_CHECKING:  # --help loads no torch
    from edgepers.annotate.sources import Source
    from edgepers.personalize import Personalizer
    from edgepers.state.buffer import Buffer
    from edgepers.state.folder import State
    from edgepers.streams import DialogueSet


NIGHT = "02:30"  # when a service does its round, unless it is told


class Outcome(NamedTuple):
    """What a command found: the record that --json prints, the text that people read, and why the answer is no."""

    record: dict[str, Any]
    text: str = ""
    failure: str = ""


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that are given on the command line."""
    names = {f.name for f in fields(Settings)}
    return {name: value for name, value in vars(args).items() if name in names - {"stream"}}


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
    """Open and read once what is named: the stream, the test set, and the file of answers where they are wanted.

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


def run(args: argparse.Namespace) -> Outcome:
    from edgepers.report.summary import run_summary

    owner = _open(args, make=True, total=args.limit)
    stream, test = _read_files(args, owner)
    with owner:
        report = owner.run(stream, test=test, limit=args.limit, strict=args.strict)
    return Outcome(report, run_summary(report))


def select(args: argparse.Namespace) -> Outcome:
    from edgepers.report.summary import run_summary

    owner = _open(args, make=True, total=args.limit)
    stream, _ = _read_files(args, owner, answers=False)
    with owner:
        report = owner.select(stream, limit=args.limit, strict=args.strict)
    return Outcome(report, run_summary(report))


def annotate(args: argparse.Namespace) -> Outcome:
    from edgepers.annotate.reasons import reasons

    owner = _open(args)
    _read_files(args, owner, answers=not args.requests)
    with owner:
        if args.requests:
            asked = owner.requests()
            whys = reasons(owner.verdicts, asked, owner.settings.ask)
            requests = [
                {"id": kept.id, "question": kept.question, "response": kept.response, "reference": "", "why": why}
                for kept, why in zip(asked, whys, strict=True)
            ]
            lines = (json.dumps(request, ensure_ascii=False) for request in requests)
            return Outcome({"requests": requests}, "\n".join(lines))
        outcomes = owner.annotate()
        left = len(owner.requests())
    return Outcome({"outcomes": outcomes, "open": left}, f"answers: {outcomes or 'none'}; {left} requests still open")


def synthesize(args: argparse.Namespace) -> Outcome:
    with _open(args) as owner:
        made = owner.synthesize()
    lines = [f"{question}\n    -> {response}" for question, response in made["pairs"]]
    refused = made["refused"] or "none"
    lines.append(f"{made['synthesized']} variations of {made['sets']} sets kept; refused: {refused}")
    return Outcome(made, "\n".join(lines))


def train(args: argparse.Namespace) -> Outcome:
    owner = _open(args)
    _, test = _read_files(args, owner, answers=False)
    with owner:
        done = owner.train(test=test)
    return Outcome(done, _rows(done))


def round_now(args: argparse.Namespace) -> Outcome:
    return _round(args) if args.when_idle is None else _round_when_idle(args)


def _round(args: argparse.Namespace) -> Outcome:
    owner = _open(args)
    _, test = _read_files(args, owner)
    with owner:
        done = owner.round(test=test)
    return Outcome(done, _rows(done))


def _round_when_idle(args: argparse.Namespace) -> Outcome:
    """Do the round, or say why there was none: for a timer both are fine."""
    from edgepers.rounds.idle import nothing_new, wait_until_idle

    state, settings, opened = _open_buffer(args, given=tuple(_given(args)))
    with opened as buffer:
        reason = nothing_new(state, buffer, settings)
    reason = reason or wait_until_idle(settings.busy_bounds, args.when_idle)
    if not reason:
        try:
            return _round(args)
        except BusyError as error:
            reason = str(error)
    return Outcome({"round": None, "reason": reason}, f"no round: {reason}")


def _rows(record: dict[str, Any]) -> str:
    """Lay a record out as text, one line a field."""
    from edgepers.text import table

    return table([(key, "-" if value is None else value) for key, value in record.items()])


def evaluate(args: argparse.Namespace) -> Outcome:
    from edgepers.text import table

    owner = _open(args)
    _, test = _read_files(args, owner, answers=False)
    with owner:
        found = owner.evaluate(test)
    keys = ("questions", "rouge1_before", "rouge1_after", "floor_echo", "floor_constant", "adapter")
    rows = [(key, f"{found[key]:.4f}" if isinstance(found[key], float) else found[key] or "-") for key in keys]
    return Outcome(found, table(rows))


def status(args: argparse.Namespace) -> Outcome:
    from edgepers.report.overview import contents, overview
    from edgepers.report.report import report
    from edgepers.report.summary import status_summary

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
    return Outcome(found, status_summary(found))


def rollback(args: argparse.Namespace) -> Outcome:
    from edgepers.state.rollback import roll_back

    state, _, opened = _open_buffer(args, write=True)
    with opened as buffer:
        done = roll_back(state, buffer)
    now = f"withdrawn: {done['withdrawn']}; published now: {done['published'] or 'the base model'}"
    return Outcome(done, now + _still_there(state, [done["withdrawn"]]))


def _still_there(state: "State", withdrawn: Sequence[str]) -> str:
    """What is to be done where a server was given an adapter that is withdrawn here; else nothing."""
    from edgepers.state.folder import UPSTREAM_RECORD
    from edgepers.upstream.publisher import read_served

    there = [name for name, one in read_served(state.upstream / UPSTREAM_RECORD).items() if one.given in withdrawn]
    return "".join(f"\n{name} was given it, and goes on until 'edgepers serve' runs before it again" for name in there)


def chat(args: argparse.Namespace) -> Outcome:
    from edgepers.annotate.sources import ask
    from edgepers.chat.terminal import chat

    with _open(args, make=True, source=ask()) as owner:
        return Outcome(chat(owner, write=sys.stderr if args.json else None))


def _say(text: str) -> None:
    """One line beside the result."""
    print(f"edgepers: {text}", file=sys.stderr, flush=True)


def serve(args: argparse.Namespace) -> Outcome:
    from edgepers.serve.options import ServeOptions

    options = ServeOptions(**{name: value for name, value in vars(args).items() if name in ServeOptions.names()})
    options.token()  # what is wrong with its file is said before a model is loaded
    try:
        from edgepers.serve.server import serve
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("fastapi", "starlette", "uvicorn", "httpx", "h11", "pydantic"):
            raise
        raise UsageError("serving needs FastAPI, uvicorn and httpx; pip install 'edgepers[serve]'") from None

    with _open(args, make=True, source=lambda _: None) as owner:  # nobody is there to be asked
        done = serve(owner, options, _say)
    return Outcome(done, _rows(done))


def forget(args: argparse.Namespace) -> Outcome:
    from edgepers.state.forget import find, finish_forgetting, forget

    state, _, opened = _open_buffer(args, write=True)
    with opened as buffer:
        finish_forgetting(state, buffer)
        done = forget(state, buffer, find(buffer, name=args.id, matching=args.matching, everything=args.all))
    withdrawn = ", ".join(done["withdrawn"]) or "none"
    return Outcome(
        done,
        f"forgotten: {len(done['forgotten'])} sets; withdrawn adapters: {withdrawn};"
        f" published now: {done['published'] or 'the base model'}{_still_there(state, done['withdrawn'])}",
    )


def lexicon(args: argparse.Namespace) -> Outcome:
    from dataclasses import asdict

    from edgepers.select.lexicon import PACKAGED, load_lexicons
    from edgepers.select.suggest import suggest, write_suggestions
    from edgepers.streams import Complaints, open_stream

    if args.with_packaged and args.out is None:
        raise UsageError("--with-packaged copies lexicons to --out; give --out DIR")
    complaints = Complaints()

    found = suggest(
        open_stream(args.stream, log=_say),
        load_lexicons(args.lexicons),
        domains=args.domains,
        words_each=args.words,
        limit=args.limit,
        references=args.references,
        on_warning=complaints.add,
    )
    beside = (args.lexicons or PACKAGED) if args.with_packaged else None
    files = write_suggestions(args.out, found, args.stream, beside) if args.out else []
    for line in complaints.lines():
        _say(f"skipped: {line}")
    text = found.summary()
    if found.domains and files:
        text += f"\nwritten to {args.out}; edit and rename them, then give --lexicons {args.out}"
    return Outcome({**asdict(found), "invalid": complaints.total, "files": [str(file) for file in files]}, text)


def export(args: argparse.Namespace) -> Outcome:
    from edgepers.export.export import export

    state, settings, opened = _open_buffer(args)
    with opened as buffer:
        published = buffer.progress.published
    done = export(state, settings, published, args.out, form=args.format, adapter=args.adapter, onto=args.onto)
    what = f"adapter {done['adapter']} of {done['base']}, {done['format']}, {format_size(done['bytes'])}"
    return Outcome(done, f"{done['out']}: {what}")


def guard(args: argparse.Namespace) -> Outcome:
    from edgepers.evaluate.served import guard_served
    from edgepers.export.export import adapter_folder
    from edgepers.rounds.training_data import TrainingData

    state, settings, opened = _open_buffer(args)
    with opened as buffer:
        adapter = adapter_folder(state, args.adapter or buffer.progress.published)
        rounds = state.round_reports(buffer.progress.rounds)
        trained_on = next((one["trained_on"] for one in rounds if one["adapter"] == adapter.name), None)
        asked = TrainingData.of(state, buffer).asked(buffer, trained_on)
    done = guard_served(settings, asked, adapter, args.served, merged=args.merged)
    failure = "" if done["passes"] else f"adapter {done['adapter']} on {args.served}: {done['reason']}"
    return Outcome(done, _rows(done), failure)


def export_data(args: argparse.Namespace) -> Outcome:
    from edgepers.state.owner_data import owner_data, write_owner_data

    state, _, opened = _open_buffer(args)
    with opened as buffer:
        records = list(owner_data(state, buffer))
    if args.out is not None:
        write_owner_data(args.out, records)
        text = f"{args.out}: {len(records)} sets, readable by whoever has the file"
        return Outcome({"sets": len(records), "out": str(args.out)}, text)
    lines = (json.dumps(record, ensure_ascii=False) for record in records)
    return Outcome({"sets": len(records), "records": records}, "\n".join(lines))


def plan(args: argparse.Namespace) -> Outcome:
    from edgepers.plan.plan import plan
    from edgepers.plan.text import plan_text, verdict

    given = _given(args)
    memory = given.pop("memory", None)
    found = plan(
        Settings.make(given), device=args.device, memory=memory, tokens=args.tokens, power_mode=args.power_mode
    )
    if args.plot is not None:
        from edgepers.report.pictures import plan_picture, write_picture

        write_picture(args.plot, plan_picture, found)
        print(f"picture: {args.plot}", file=sys.stderr)
    return Outcome(found, plan_text(found), "" if found["fits"] else verdict(found))


def profile(args: argparse.Namespace) -> Outcome:
    from edgepers.cli.profile import check_out, profile, profile_text, write_profile

    check_out(args.out)
    found = profile(args.stream, Settings.make(_given(args)), sets=args.sets, log=_say)
    files = write_profile(args.out, found, _say)
    return Outcome(found, f"{profile_text(found)}\n\nwritten: {', '.join(map(str, files))}")


def models(args: argparse.Namespace) -> Outcome:
    from edgepers.model.converted import MOST_BYTES, converted_models, remove_model
    from edgepers.text import table

    if args.remove is not None:
        gone = remove_model(args.remove).record()
        return Outcome({"removed": gone}, f"removed: {gone['name']}, {format_size(gone['bytes'])}")
    found = [model.record() for model in converted_models()]
    total = sum(record["bytes"] for record in found)
    rows = [(record["name"], format_size(record["bytes"]), record["used"], record["source"]) for record in found]
    listed = table(rows, ("model", "size", "last used", "made of")) if rows else "none was made yet"
    text = f"{listed}\n{format_size(total)} in all; at most {format_size(MOST_BYTES)} are kept"
    return Outcome({"models": found, "bytes": total, "most_bytes": MOST_BYTES}, text)


def doctor(args: argparse.Namespace) -> Outcome:
    from edgepers.doctor import examine, findings_text, report, report_text

    findings = examine(args.state)
    found = report(findings)
    if args.report:
        found["report"] = report_text(findings, args.state)
    text = found["report"].rstrip("\n") if args.report else findings_text(findings)
    failed = found["failed"]
    failure = f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}" if failed else ""
    return Outcome(found, text, failure)


def systemd(args: argparse.Namespace) -> Outcome:
    from edgepers.serve.options import ServeOptions
    from edgepers.service.rounds import round_units
    from edgepers.service.server import server_units
    from edgepers.service.units import service_of, write_units
    from edgepers.state.folder import State

    options = {name: value for name, value in vars(args).items() if name in ServeOptions.names()}
    given = {name: value for name in ("model", "memory") if (value := getattr(args, name)) is not None}
    if not args.serve and (options or given):
        raise UsageError(f"{option_name(next(iter(options | given)))} is for a server; give --serve, too")
    if args.serve and args.at is not None:
        raise UsageError("--at is for rounds at night; a server with --serve does its rounds when the device is idle")
    service = service_of(State(args.state), user=args.user, encrypted=args.encrypted, given=given)
    if args.serve:
        service.require_place()
        made = server_units(service, ServeOptions(**options), given)
    else:
        made = round_units(service, args.at or NIGHT)
    if args.out is not None:
        write_units(args.out, made)
        print(f"written to {args.out}: {', '.join(made)}", file=sys.stderr)
    text = "\n".join(f"# --- {name}\n{unit}" for name, unit in made.items()).rstrip("\n")
    return Outcome(
        {"units": made, "memory_high_bytes": service.planned_bytes, "memory_max_bytes": service.memory_bytes}, text
    )


def demo(args: argparse.Namespace) -> Outcome:
    from edgepers.cli.demo import demo

    log = partial(print, file=sys.stderr) if args.json else print
    return Outcome(demo(args.out, model=args.model, rounds=args.rounds, seed=args.seed, log=log))
