"""The command line: what can be asked for. `commands.py` does it, `run.py` prints it."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from edgepers import __version__
from edgepers.board.presets import PRESETS
from edgepers.cli import commands
from edgepers.cli.options import PLANNED, PROFILED, add_options, add_settings, count, size
from edgepers.config import EXPORT_FORMATS, EXPORT_ONTO
from edgepers.serve.options import ServeOptions

__all__ = ["build_parser"]


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def _command(
    subparsers: "argparse._SubParsersAction[_Parser]",
    name: str,
    help: str,
    example: str,
    *,
    run: Callable[[argparse.Namespace], commands.Outcome],
    state: bool = True,
    settings: bool = True,
) -> argparse.ArgumentParser:
    sub = subparsers.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if state:
        sub.add_argument(
            "--state", required=True, type=Path, metavar="DIR", help="folder of one owner's state; made on first use"
        )
    sub.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else there")
    if settings:
        add_settings(sub)
        sub.add_argument(
            "--quarantine", action="store_true", help="set kept sets aside that cannot be read, instead of stopping"
        )
    sub.set_defaults(run=run)
    return sub


def _add_chain(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The chain and its stages."""
    demo = command(
        "demo",
        "show the whole chain on a small model and the packaged sample stream",
        "edgepers demo --out my-demo",
        run=commands.demo,
        state=False,
        settings=False,
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("edgepers-demo"),
        metavar="DIR",
        help="where state, report and picture go (default edgepers-demo)",
    )
    demo.add_argument(
        "--model",
        metavar="M",
        help="packaged, or a model as other commands take it (default smollm2 where its package is installed)",
    )
    demo.add_argument(
        "--rounds",
        type=int,
        choices=(1, 2, 3),
        default=2,
        help="of 200 dialogue sets and 16 corrections each (default 2)",
    )
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default 0)")
    run = command(
        "run",
        "read a stream: select, and rounds of annotate, synthesize, train, guard, publish",
        "edgepers run stream.jsonl --state my-state --annotations gold --eval test.jsonl",
        run=commands.run,
    )
    select = command(
        "select",
        "read a stream and keep what the policy keeps; no rounds",
        "edgepers select stream.jsonl --state my-state --storage 281KB",
        run=commands.select,
    )
    for sub in (run, select):
        sub.add_argument(
            "stream",
            metavar="STREAM",
            help="JSON Lines with 'question' and any of 'response', 'reference', or another form (--format);"
            " a chat export, - for standard input, or a Hugging Face data set's name",
        )
        sub.add_argument("--limit", type=count, metavar="N", help="stop when N valid sets have been seen in all")
        sub.add_argument("--strict", action="store_true", help="stop at the first malformed line")
        sub.add_argument(
            "--explain",
            action="store_true",
            help="say for each set in one line why it was kept or dropped, and against which",
        )
    annotate = command(
        "annotate",
        "ask the owner about kept responses",
        "edgepers annotate --state my-state --annotations ask",
        run=commands.annotate,
    )
    annotate.add_argument(
        "--requests",
        action="store_true",
        help="only list what would be asked, as JSON Lines to fill in and give to --annotations",
    )
    command(
        "synthesize",
        "write variations of annotated sets",
        "edgepers synthesize --state my-state",
        run=commands.synthesize,
    )
    train = command(
        "train",
        "train an adapter on what is annotated, guard it, publish it",
        "edgepers train --state my-state --eval test.jsonl",
        run=commands.train,
    )
    round_ = command(
        "round",
        "one round now: annotate, synthesize, train, guard, publish",
        "edgepers round --state my-state --annotations ask",
        run=commands.round_now,
    )
    evaluate = command(
        "evaluate",
        "measure ROUGE-1 of the base model and of the published one",
        "edgepers evaluate --state my-state --eval test.jsonl",
        run=commands.evaluate,
    )
    round_.add_argument(
        "--when-idle",
        nargs="?",
        type=count,
        const=10,
        metavar="MINUTES",
        help="only where something is new and the device is idle: wait so long for it (10 without a number), else end"
        " quietly",
    )
    for sub in (run, train, round_):
        sub.add_argument("--eval", type=Path, metavar="TESTSET", help="held-out sets with references, as JSON Lines")
    evaluate.add_argument(
        "--eval", type=Path, metavar="TESTSET", required=True, help="held-out sets with references, as JSON Lines"
    )


def _add_owner(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What an owner does with a state."""
    command(
        "chat",
        "talk to the published model; it learns as you talk",
        "edgepers chat --state my-state",
        run=commands.chat,
    )
    serve = command(
        "serve",
        "serve the published model to chat programs, or stand before their server; it learns from what is said",
        "edgepers serve --state my-state",
        run=commands.serve,
    )
    add_options(serve.add_argument_group("the server", "not kept in the state"), ServeOptions.names(), ServeOptions)
    forget = command(
        "forget",
        "forget kept sets; adapters that learned from them are withdrawn",
        "edgepers forget --state my-state --matching dog",
        run=commands.forget,
        settings=False,
    )
    forget.add_argument(
        "id", nargs="?", metavar="ID", help="id of a set in its stream, or its position as 'select --explain' names it"
    )
    forget.add_argument("--matching", metavar="TEXT", help="every kept set that holds this text, in any case")
    forget.add_argument("--all", action="store_true", help="everything kept")
    export_data = command(
        "export-data",
        "write everything kept, in the clear, for its owner",
        "edgepers export-data --state my-state --out mine.jsonl",
        run=commands.export_data,
        settings=False,
    )
    export_data.add_argument("--out", type=Path, metavar="FILE", help="JSON Lines to write (default: standard output)")
    forget.add_argument(
        "--quarantine", action="store_true", help="set kept sets aside that cannot be read, instead of stopping"
    )
    status = command(
        "status",
        "what the state holds",
        "edgepers status --state my-state --plot my-state.png",
        run=commands.status,
        settings=False,
    )
    status.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it, too (PNG, SVG or PDF; needs the extra 'plot')"
    )
    command(
        "rollback",
        "publish what was published before",
        "edgepers rollback --state my-state",
        run=commands.rollback,
        settings=False,
    )


def _add_tools(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands for lexicons, exports and the guard on served weights."""
    lexicon = command(
        "lexicon",
        "suggest lexicons: words of a stream that set a new domain apart",
        "edgepers lexicon suggest stream.jsonl --domains 3 --out my-lexicons --with-packaged",
        run=commands.lexicon,
        state=False,
        settings=False,
    )
    lexicon.add_argument("action", choices=("suggest",), help="what to do")
    lexicon.add_argument("stream", metavar="STREAM", help="as for run; question and response are read")
    lexicon.add_argument(
        "--lexicons", type=Path, metavar="DIR", help="what is known already; without it, the packaged ones"
    )
    lexicon.add_argument("--words", type=count, default=40, metavar="N", help="words of a domain, at most (default 40)")
    lexicon.add_argument("--domains", type=count, default=3, metavar="N", help="domains, at most (default 3)")
    lexicon.add_argument("--limit", type=count, metavar="N", help="read N valid sets")
    lexicon.add_argument(
        "--references",
        action="store_true",
        help="of a set without response, read the reference (selection does not, but under --preset paper)",
    )
    lexicon.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write each as DIR/suggested-<number>.txt, to be edited and given to --lexicons",
    )
    lexicon.add_argument(
        "--with-packaged", action="store_true", help="copy the packaged lexicons (or those of --lexicons) there too"
    )
    export = command(
        "export",
        "write the published adapter, or the model with it merged in, for other programs",
        "edgepers export --state my-state --format merged --out my-model",
        run=commands.export,
        settings=False,
    )
    export.add_argument(
        "--format",
        required=True,
        choices=EXPORT_FORMATS,
        help="peft: the adapter; gguf: the adapter for llama.cpp; gguf-merged: the model's GGUF file with the adapter"
        " in it, for Ollama and others that take no adapters; merged: a 16-bit model folder for transformers",
    )
    export.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder to make; it appears whole or not at all"
    )
    export.add_argument(
        "--adapter",
        default="",
        metavar="NAME",
        help="an adapter of the state, such as 0003 (default: the published one)",
    )
    export.add_argument(
        "--onto",
        default=EXPORT_ONTO[0],
        choices=EXPORT_ONTO,
        help="merged: onto the weights as 4 bits have them, which the adapter was trained on, or onto the original"
        " ones",
    )

    guard = command(
        "guard",
        "judge an adapter again on the quantized weights that llama.cpp or Ollama serves",
        "edgepers guard --state my-state --served base-Q4_K_M.gguf",
        run=commands.guard,
        settings=False,
    )
    guard.add_argument("--served", required=True, type=Path, metavar="FILE", help="the GGUF file of the base model")
    guard.add_argument("--merged", action="store_true", help="the file has the adapter in its weights already")
    guard.add_argument(
        "--adapter",
        default="",
        metavar="NAME",
        help="an adapter of the state, such as 0003 (default: the published one)",
    )


def _add_profile(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command that measures what a machine takes."""
    profile = command(
        "profile",
        "measure a model here: latency, memory and energy by stage, in a round that leaves nothing behind",
        "edgepers profile --sets 16 --steps 2 --out my-profile",
        run=commands.profile,
        state=False,
        settings=False,
    )
    profile.add_argument("stream", nargs="?", metavar="STREAM", help="as for run; without it, the packaged sample")
    profile.add_argument(
        "--out", type=Path, default=Path("edgepers-profile"), metavar="DIR",
        help="where profile.json and profile.png go (default edgepers-profile)",
    )  # fmt: skip
    profile.add_argument(
        "--sets", type=count, default=48, metavar="N", help="dialogue sets of the stream that are taken (default 48)"
    )
    profile.add_argument(
        "--steps", type=count, default=10, metavar="N", help="optimizer steps that are measured (default 10)"
    )
    add_options(profile.add_argument_group("settings of the round"), PROFILED)


def _add_checks(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What a machine can do."""
    plan = command(
        "plan",
        "estimate what fits: memory by part, and sets in storage",
        "edgepers plan --device orin-nano-8gb --batch 8",
        run=commands.plan,
        state=False,
        settings=False,
    )
    plan.add_argument(
        "--device", default="this", choices=(*PRESETS, "this"), help="where it is to run (default this machine)"
    )
    plan.add_argument(
        "--power-mode", metavar="NAME", help="of the device, such as 15W (default the fastest, or this machine's)"
    )
    plan.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw memory by part under the device's line (needs the extra 'plot')"
    )
    plan.add_argument(
        "--tokens",
        type=count,
        metavar="N",
        help="tokens of the longest training set (default: the most that training takes)",
    )
    plan.add_argument(
        "--memory",
        type=size,
        metavar="SIZE",
        default=argparse.SUPPRESS,
        help="most bytes of memory, where the device leaves more",
    )
    add_options(plan.add_argument_group("settings that are planned with", "as for run"), PLANNED)
    models = command(
        "models",
        "list the models that were made of GGUF files, or remove one",
        "edgepers models",
        run=commands.models,
        state=False,
        settings=False,
    )
    models.add_argument(
        "--remove", metavar="NAME", help="remove this one; it is made again when its file is loaded again"
    )
    doctor = command(
        "doctor",
        "check what this machine has and can do, with the cure for what it lacks",
        "edgepers doctor --state my-state",
        run=commands.doctor,
        state=False,
        settings=False,
    )
    doctor.add_argument("--state", type=Path, metavar="DIR", help="check its disk and its buffer, too")
    doctor.add_argument("--report", action="store_true", help="what was found as text to give away: no paths, no names")


def _add_service(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command that lets a state learn without being asked."""
    systemd = command(
        "systemd",
        "print a systemd service and timer that do a round when the device is idle, or a service that is a server",
        "edgepers systemd --state my-state --at 02:30",
        run=commands.systemd,
        settings=False,
    )
    systemd.add_argument(
        "--at", metavar="TIME", help=f"when to do a round, as systemd's OnCalendar has it (default {commands.NIGHT})"
    )
    systemd.add_argument(
        "--user", default="edgepers", metavar="NAME", help="who runs it, and owns the state (default edgepers)"
    )
    systemd.add_argument(
        "--encrypted",
        action="store_true",
        help="the key's credential is encrypted with systemd-creds (systemd 250 and newer: JetPack 7)",
    )
    systemd.add_argument("--out", type=Path, metavar="DIR", help="write the files there, too")
    systemd.add_argument(
        "--serve", action="store_true", help="a service that answers all day, as `edgepers serve` does, instead"
    )
    server = systemd.add_argument_group("the server", "with --serve, as for serve")
    server.add_argument("--model", metavar="TEXT", help="what it begins a new state with")
    server.add_argument(
        "--memory", type=size, metavar="SIZE", help="most bytes of memory, where the state says another"
    )
    add_options(server, ServeOptions.names(), ServeOptions)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="edgepers", description="A language model on an edge box that becomes its owner's own, on the device."
    )
    parser.add_argument("--version", action="version", version=f"edgepers {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    command = partial(_command, subparsers)
    _add_chain(command)
    _add_owner(command)
    _add_tools(command)
    _add_profile(command)
    _add_checks(command)
    _add_service(command)
    return parser
