"""The command line: what can be asked for. `commands.py` does it; `--help` loads no torch."""

import argparse
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from edgepers import __version__
from edgepers.board.presets import PRESETS
from edgepers.cli import commands
from edgepers.config import EXPORT_FORMATS, EXPORT_ONTO, Settings, Size, option_name, parse_size
from edgepers.errors import EdgepersError, UsageError
from edgepers.model.heap import tune_malloc

__all__ = ["build_parser", "main"]

# Settings that a measured round depends on, and those that decide what one takes.
PROFILED = (
    "model",
    "bits",
    "storage",
    "memory",
    "policy",
    "annotations_per_round",
    "generations",
    "batch",
    "lora_rank",
    "lora_targets",
    "lora_layers",
    "rehearsal",
    "lexicons",
    "scored_text",
    "format",
    "seed",
)
PLANNED = (
    "model",
    "bits",
    "storage",
    "annotations_per_round",
    "generations",
    "steps",
    "epochs",
    "batch",
    "step_tokens",
    "optimizer",
    "liger",
    "fused",
    "lora_rank",
    "lora_targets",
    "lora_layers",
    "rehearsal",
    "guard",
)
_UNSET = "none"  # on the command line: no value
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
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """All settings, as options of their own group."""
    group = parser.add_argument_group(
        "settings",
        "kept in the state's edgepers.toml; what is given again replaces what is there, and none unsets it",
    )
    _add_options(group, [f.name for f in fields(Settings) if f.metadata["given"]])


def _add_options(group: argparse._ActionsContainer, names: Sequence[str]) -> None:
    """One option a setting: its name, type, default and help come from `Settings`."""
    hints = Settings.hints()
    for f in fields(Settings):
        if f.name not in names:
            continue
        kind, may_be_unset = hints[f.name]
        default = _plain_size(f.default) if isinstance(f.default, Size) else f.default
        text = str(f.metadata["help"]) + ("" if default is None else f" (default {default})")
        if f.metadata["choices"]:
            text = f"{text}; one of {', '.join(f.metadata['choices'])}"
        text = text.replace("%", "%%")
        if kind is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(option_name(f.name), action=action, default=argparse.SUPPRESS, help=text)
        else:
            group.add_argument(
                option_name(f.name),
                type=_reader(_size if kind is Size else kind, may_be_unset=may_be_unset),
                metavar={Size: "SIZE", int: "N", float: "X", str: "TEXT"}[kind],
                default=argparse.SUPPRESS,
                help=text,
            )


def _reader(kind: Callable[[str], Any], *, may_be_unset: bool) -> Callable[[str], Any]:
    """Read an option's value; "none" unsets what may be unset."""

    def read(text: str) -> Any:
        return None if may_be_unset and text == _UNSET else kind(text)

    read.__name__ = getattr(kind, "__name__", "value").strip("_")  # argparse names it where the text is no such value
    return read


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
        _add_settings(sub)
        sub.add_argument(
            "--quarantine", action="store_true", help="set kept sets aside that cannot be read, instead of stopping"
        )
    sub.set_defaults(run=run)
    return sub


def _add_chain(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The chain and its stages."""
    demo = command(
        "demo",
        "show the whole chain on the packaged model and sample stream",
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
        sub.add_argument("--limit", type=_count, metavar="N", help="stop when N valid sets have been seen in all")
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
        type=_count,
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
    lexicon.add_argument(
        "--words", type=_count, default=40, metavar="N", help="words of a domain, at most (default 40)"
    )
    lexicon.add_argument("--domains", type=_count, default=3, metavar="N", help="domains, at most (default 3)")
    lexicon.add_argument("--limit", type=_count, metavar="N", help="read N valid sets")
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
        help="peft: the adapter; gguf: the adapter for llama.cpp; merged: a 16-bit model folder for transformers",
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
        "--sets", type=_count, default=48, metavar="N", help="dialogue sets of the stream that are taken (default 48)"
    )
    profile.add_argument(
        "--steps", type=_count, default=10, metavar="N", help="optimizer steps that are measured (default 10)"
    )
    _add_options(profile.add_argument_group("settings of the round"), PROFILED)


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
        type=_count,
        metavar="N",
        help="tokens of the longest training set (default: the most that training takes)",
    )
    plan.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        default=argparse.SUPPRESS,
        help="most bytes of memory, where the device leaves more",
    )
    _add_options(plan.add_argument_group("settings that are planned with", "as for run"), PLANNED)
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
        "print a systemd service and timer that do a round when the device is idle",
        "edgepers systemd --state my-state --at 02:30",
        run=commands.systemd,
        settings=False,
    )
    systemd.add_argument(
        "--at", default="02:30", metavar="TIME", help="when, as systemd's OnCalendar has it (default 02:30)"
    )
    systemd.add_argument(
        "--user", default="edgepers", metavar="NAME", help="who runs it, and owns the state (default edgepers)"
    )
    systemd.add_argument(
        "--encrypted",
        action="store_true",
        help="the key's credential is encrypted with systemd-creds (systemd 250 and newer: JetPack 7)",
    )
    systemd.add_argument("--out", type=Path, metavar="DIR", help="write the two files there, too")


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


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0 done, 1 a known failure in one line, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    tune_malloc()  # before torch makes a tensor
    signal.signal(signal.SIGTERM, _interrupt)
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )  # a core file would hold what was decrypted
    try:
        outcome: commands.Outcome = args.run(args)
        if args.json:
            print(json.dumps(outcome.record, ensure_ascii=False, allow_nan=False))
        elif outcome.text:
            print(outcome.text)
        sys.stdout.flush()
        if not outcome.failure:
            return 0
        failure, code = outcome.failure, 1
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
        if (known := _os_failure(error, args)) is None:
            raise
        failure, code = known, 1
    print(f"edgepers: {failure}", file=sys.stderr)
    return code


def _os_failure(error: OSError, args: argparse.Namespace) -> str | None:
    """One line about a full disk, or about a path that was given; None for what a traceback should explain."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'disk'}: {error.strerror}; free some space, and the same command goes on from there"
    if error.filename is None:
        return None
    file = Path(os.fsdecode(error.filename)).absolute()
    given = [Path(value).absolute() for value in vars(args).values() if isinstance(value, str | Path)]
    if not any(file == path or path in file.parents or file in path.parents for path in given):
        return None
    return f"{error.filename}: {error.strerror}; check that path and its permissions"
