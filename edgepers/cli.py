"""The command line: each command parses, calls one library function, prints. `--help` loads no torch."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgepers import __version__
from edgepers.config import EXPORT_FORMATS, EXPORT_ONTO, Settings, Size, format_size, parse_size
from edgepers.errors import EdgepersError, UsageError

if TYPE_CHECKING:
    from edgepers.personalize import Personalizer

__all__ = ["build_parser", "main"]

_STOPPED = "stopped; everything decided so far is kept, and the same command goes on from there"


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def _size(text: str) -> Size:
    try:
        return parse_size(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plain_size(size: int) -> str:
    return f"{size // 10**9}GB" if size >= 10**9 else f"{size // 1000}KB"


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number of sets")
    return value


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One option a setting: its name, type, default and help come from `Settings`."""
    group = parser.add_argument_group("settings", "kept in the state's edgepers.toml; what is given again replaces what is there")
    hints = Settings.hints()
    for f in fields(Settings):
        if not f.metadata["given"]:
            continue
        name, hint = "--" + f.name.replace("_", "-"), hints[f.name]
        default = _plain_size(f.default) if isinstance(f.default, Size) else f.default
        text = f"{f.metadata['help']}" + ("" if default == "" else f" (default {default})")
        if f.metadata["choices"]:
            text = f"{text}; one of {', '.join(c for c in f.metadata['choices'] if c)}"
        text = text.replace("%", "%%")
        if hint is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            metavar = {Size: "SIZE", int: "N", float: "X", str: "TEXT"}[hint]
            group.add_argument(name, type=_size if hint is Size else hint, metavar=metavar, default=argparse.SUPPRESS, help=text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="edgepers", description="A language model on an edge box that becomes its owner's own, on the device.")
    parser.add_argument("--version", action="version", version=f"edgepers {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(
        name: str,
        run: Callable[[argparse.Namespace], dict[str, Any]],
        help: str,
        example: str,
        *,
        state: bool = True,
        settings: bool = True,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if state:
            sub.add_argument("--state", required=True, type=Path, metavar="DIR", help="folder of one owner's state; made on first use")
        sub.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else there")
        if settings:
            _add_settings(sub)
        sub.set_defaults(run=run)
        return sub

    demo = command(
        "demo",
        _demo,
        "show the whole chain on the packaged model and sample stream",
        "edgepers demo --out my-demo",
        state=False,
        settings=False,
    )
    demo.add_argument(
        "--out", type=Path, default=Path("edgepers-demo"), metavar="DIR", help="where state, report and picture go (default edgepers-demo)"
    )
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default 0)")
    run = command(
        "run",
        _run,
        "read a stream: select, and rounds of annotate, synthesize, train, guard, publish",
        "edgepers run stream.jsonl --state my-state --annotations gold --eval test.jsonl",
    )
    select = command(
        "select",
        _select,
        "read a stream and keep what the policy keeps; no rounds",
        "edgepers select stream.jsonl --state my-state --storage 281KB",
    )
    for sub in (run, select):
        sub.add_argument(
            "stream",
            metavar="STREAM",
            help="JSON Lines with 'question' and any of 'response', 'reference', or another form (--format);"
            " a chat export, - for standard input, or a Hugging Face data set's name",
        )
        sub.add_argument("--limit", type=_count, metavar="N", help="stop when N valid sets have been seen in all")
        sub.add_argument("--strict", action="store_true", help="stop at the first malformed line")
    annotate = command("annotate", _annotate, "ask the owner about kept responses", "edgepers annotate --state my-state --annotations ask")
    annotate.add_argument(
        "--requests", action="store_true", help="only list what would be asked, as JSON Lines to fill in and give to --annotations"
    )
    command("synthesize", _synthesize, "write variations of annotated sets", "edgepers synthesize --state my-state")
    train = command(
        "train", _train, "train an adapter on what is annotated, guard it, publish it", "edgepers train --state my-state --steps 100"
    )
    round_ = command(
        "round", _round, "one round now: annotate, synthesize, train, guard, publish", "edgepers round --state my-state --annotations ask"
    )
    evaluate = command(
        "evaluate",
        _evaluate,
        "measure ROUGE-1 of the base model and of the published one",
        "edgepers evaluate --state my-state --eval test.jsonl",
    )
    for sub in (run, train, round_):
        sub.add_argument("--eval", type=Path, metavar="TESTSET", help="held-out sets with references, as JSON Lines")
    evaluate.add_argument("--eval", type=Path, metavar="TESTSET", required=True, help="held-out sets with references, as JSON Lines")
    command("status", _status, "what the state holds", "edgepers status --state my-state", settings=False)
    command("rollback", _rollback, "publish what was published before", "edgepers rollback --state my-state", settings=False)
    lexicon = command(
        "lexicon",
        _lexicon,
        "suggest lexicons: words of a stream that set a new domain apart",
        "edgepers lexicon suggest stream.jsonl --domains 3 --out my-lexicons --with-packaged",
        state=False,
        settings=False,
    )
    lexicon.add_argument("action", choices=("suggest",), help="what to do")
    lexicon.add_argument("stream", metavar="STREAM", help="as for run; question and response are read")
    lexicon.add_argument("--lexicons", type=Path, metavar="DIR", help="what is known already; without it, the packaged ones")
    lexicon.add_argument("--words", type=_count, default=40, metavar="N", help="words of a domain, at most (default 40)")
    lexicon.add_argument("--domains", type=_count, default=3, metavar="N", help="domains, at most (default 3)")
    lexicon.add_argument("--limit", type=_count, metavar="N", help="read N valid sets")
    lexicon.add_argument(
        "--references",
        action="store_true",
        help="of a set without response, read the reference (selection does not, but under --preset paper)",
    )
    lexicon.add_argument(
        "--out", type=Path, metavar="DIR", help="write each as DIR/suggested-<number>.txt, to be edited and given to --lexicons"
    )
    lexicon.add_argument("--with-packaged", action="store_true", help="copy the packaged lexicons (or those of --lexicons) there too")
    export = command(
        "export",
        _export,
        "write the published adapter, or the model with it merged in, for other programs",
        "edgepers export --state my-state --format merged --out my-model",
        settings=False,
    )
    export.add_argument(
        "--format", required=True, choices=EXPORT_FORMATS, help="peft: the adapter; merged: a 16-bit model folder for transformers"
    )
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make; it appears whole or not at all")
    export.add_argument("--adapter", default="", metavar="NAME", help="an adapter of the state, such as 0003 (default: the published one)")
    export.add_argument(
        "--onto",
        default=EXPORT_ONTO[0],
        choices=EXPORT_ONTO,
        help="merged: onto the weights as 4 bits have them, which the adapter was trained on, or onto the original ones",
    )
    return parser


def _open(args: argparse.Namespace, *, make: bool = False, total: int | None = None) -> "Personalizer":
    from edgepers.state import State

    state = State(args.state)
    if not make:
        state.require()
    names = {f.name for f in fields(Settings)}
    settings = Settings.make({k: v for k, v in vars(args).items() if k in names and k != "stream"}, state.saved_settings())
    from edgepers.console import Console
    from edgepers.personalize import Personalizer

    return Personalizer(args.state, settings, listener=Console(total))


def _check_files(args: argparse.Namespace) -> None:
    """Find a missing file before a model is loaded."""
    from edgepers.annotate.sources import from_file
    from edgepers.dialogue import open_stream, read_dialogue_sets

    if getattr(args, "stream", None) is not None:
        open_stream(args.stream)
    if getattr(args, "eval", None) is not None:
        read_dialogue_sets(args.eval, need_reference=True)
    if getattr(args, "annotations", "ask") not in ("ask", "gold"):
        from_file(args.annotations)
    if getattr(args, "annotations", "") == "gold" and getattr(args, "stream", "") == "-":
        raise UsageError("--annotations gold looks references up in the stream again, which standard input cannot do; give a file")


def _run(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args, make=True, total=args.limit) as owner:
        report = owner.run(args.stream, test=args.eval, limit=args.limit, strict=args.strict)
    return _shown(args, report, "run_summary")


def _select(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args, make=True, total=args.limit) as owner:
        report = owner.select(args.stream, limit=args.limit, strict=args.strict)
    return _shown(args, report, "run_summary")


def _annotate(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args) as owner:
        if args.requests:
            requests = [{"id": kept.id, "question": kept.question, "response": kept.response, "reference": ""} for kept in owner.requests()]
            if not args.json:
                print("\n".join(json.dumps(request, ensure_ascii=False) for request in requests))
            return {"requests": requests}
        outcomes = owner.annotate()
        left = len(owner.requests())
    if not args.json:
        print(f"answers: {outcomes or 'none'}; {left} requests still open")
    return {"outcomes": outcomes, "open": left}


def _synthesize(args: argparse.Namespace) -> dict[str, Any]:
    with _open(args) as owner:
        made = owner.synthesize()
    if not args.json:
        for question, response in made["pairs"]:
            print(f"{question}\n    -> {response}")
        print(f"{made['synthesized']} variations of {made['sets']} sets kept; refused: {made['refused'] or 'none'}")
    return made


def _train(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args) as owner:
        done = owner.train(test=args.eval)
    return _shown_round(args, done)


def _round(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args) as owner:
        done = owner.round(test=args.eval)
    return _shown_round(args, done)


def _shown_round(args: argparse.Namespace, done: dict[str, Any]) -> dict[str, Any]:
    if not args.json:
        from edgepers.console import table

        print(table([(key, "-" if value is None else value) for key, value in done.items()]))
    return done


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    _check_files(args)
    with _open(args) as owner:
        found = owner.evaluate(args.eval)
    if not args.json:
        from edgepers.console import table

        keys = ("questions", "rouge1_before", "rouge1_after", "floor_echo", "floor_constant", "adapter")
        print(table([(key, f"{found[key]:.4f}" if isinstance(found[key], float) else found[key] or "-") for key in keys]))
    return found


def _status(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.report import report
    from edgepers.select.buffer import Buffer
    from edgepers.state import State

    state = State(args.state)
    state.require()
    settings = Settings.make({}, state.saved_settings())
    with Buffer(state.folder) as buffer:
        found = report(state, buffer, settings)
        found["next_round_at"] = (buffer.progress.round_position // settings.every + 1) * settings.every
        found["domains"] = buffer.domains()
    return _shown(args, found, "status_summary")


def _rollback(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.rollback import roll_back
    from edgepers.select.buffer import Buffer
    from edgepers.state import State

    state = State(args.state)
    state.require()
    with Buffer(state.folder, Settings.make({}, state.saved_settings()).storage) as buffer:
        done = roll_back(state, buffer)
    if not args.json:
        print(f"withdrawn: {done['withdrawn']}; published now: {done['published'] or 'the base model'}")
    return done


def _lexicon(args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from edgepers.dialogue import open_stream
    from edgepers.select.lexicon import PACKAGED, load_lexicons
    from edgepers.select.suggest import suggest, write_suggestions

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


def _export(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.export import export
    from edgepers.select.buffer import Buffer
    from edgepers.state import State

    state = State(args.state)
    state.require()
    with Buffer(state.folder) as buffer:
        published = buffer.progress.published
    settings = Settings.make({}, state.saved_settings())
    done = export(state, settings, published, args.out, form=args.format, adapter=args.adapter, onto=args.onto)
    if not args.json:
        print(f"{done['out']}: adapter {done['adapter']} of {done['base']}, {done['format']}, {format_size(done['bytes'])}")
    return done


def _demo(args: argparse.Namespace) -> dict[str, Any]:
    from edgepers.demo import demo

    return demo(args.out, seed=args.seed, say=(lambda text: print(text, file=sys.stderr)) if args.json else print)


def _shown(args: argparse.Namespace, report: dict[str, Any], summary: str) -> dict[str, Any]:
    if not args.json:
        from edgepers import console

        print(getattr(console, summary)(report))
    return report


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0 done, 1 a known failure in one line, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result: dict[str, Any] = args.run(args)
        if args.json:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        sys.stdout.flush()
        return 0
    except UsageError as error:
        failure, code = str(error), 2
    except EdgepersError as error:
        failure, code = str(error), 1
    except KeyboardInterrupt:
        failure, code = _STOPPED, 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; there is nobody to tell
        return 1
    except OSError as error:
        failure, code = f"{error.filename or 'disk'}: {error.strerror or error}; nothing kept was harmed", 1
    print(f"edgepers: {failure}", file=sys.stderr)
    return code
