"""The chat in a terminal, over ssh, in a dumb one, or piped: the same words, fewer comforts."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from edgepers.chat.session import Session
from edgepers.errors import EdgepersError
from edgepers.personalize import Personalizer
from edgepers.text import beside, table

__all__ = ["HELP", "chat"]

HELP = """\
Write a question, or one of these:
  /good           the last answer was fine as it is
  /bad            the last answer was wrong
  /edit [TEXT]    correct the last answer: opens it to be changed, or takes TEXT
  /base           what the base model says to the same question, side by side
  /why            why the last exchange was kept or not
  /forget [TEXT]  forget the last exchange, or everything kept that holds TEXT
  /round          learn now from what you judged
  /status         what is kept, learned and published
  /help  /quit    or Ctrl-D; Ctrl-C stops an answer"""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class _Terminal:
    """Lines in, text out.

    Where both ends are a terminal there is a prompt, line editing, a history in memory only, and an asking owner.
    """

    def __init__(self, read: TextIO, write: TextIO) -> None:
        self._read, self._write = read, write
        self.live = read.isatty() and write.isatty()
        self._styled = self.live and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ
        self._readline: Any = None
        if self.live and read is sys.stdin:
            with contextlib.suppress(ImportError):  # a Python built without it still reads lines
                import readline

                self._readline = readline

    @property
    def columns(self) -> int:
        return shutil.get_terminal_size().columns if self.live else 80

    def style(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._styled else text

    def say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._write, flush=True)

    def line(self, prompt: str, filled: str = "") -> str | None:
        """One line, None at the end; `filled` stands there to be changed."""
        if not self.live:
            line = self._read.readline()
            return line.rstrip("\r\n") if line else None
        if self._readline is None:
            self.say(prompt, end="")
            line = self._read.readline()
            return line.rstrip("\r\n") if line else None
        # readline must be told which characters of the prompt take no room
        shown = f"\001{_BOLD}\002{prompt}\001{_PLAIN}\002" if self._styled else prompt
        self._readline.set_startup_hook((lambda: self._readline.insert_text(filled)) if filled else None)
        try:
            return input(shown)
        except EOFError:
            self.say("")
            return None
        finally:
            self._readline.set_startup_hook(None)


class _Chat:
    def __init__(self, session: Session, terminal: _Terminal) -> None:
        self._session = session
        self._terminal = terminal
        self._commands: dict[str, Callable[[str], str]] = {
            "/good": lambda _: session.judge(None),
            "/bad": lambda _: session.judge(None, bad=True),
            "/edit": self._edit,
            "/base": self._base,
            "/why": lambda _: session.why(),
            "/forget": session.forget,
            "/round": self._round,
            "/status": self._status,
            "/help": lambda _: HELP,
        }

    def lines(self) -> Iterator[str]:
        """What the owner writes until the end; Ctrl-C at the prompt only clears the line."""
        while True:
            try:
                line = self._terminal.line("you> ")
            except KeyboardInterrupt:
                self._terminal.say("\n/quit or Ctrl-D ends the chat")
                continue
            if line is None or line.strip() in ("/quit", "/exit"):
                return
            if line.strip():
                yield line.rstrip()

    def run(self) -> None:
        for line in self.lines():
            self.take(line)

    def take(self, line: str) -> None:
        """One question or command; what fails is one line, and the chat goes on."""
        try:
            if line.startswith("/"):
                self._terminal.say(self._command(line))
            else:
                self._question(line.strip())
        except EdgepersError as error:
            self._terminal.say(f"edgepers: {error}")
        except KeyboardInterrupt:
            self._terminal.say("\n(stopped)")

    def _command(self, line: str) -> str:
        name, _, rest = line.partition(" ")
        command = self._commands.get(name)
        if command is None:
            return f"no command {name}; /help lists them (a blank before the slash makes it a question)"
        return command(rest.strip())

    def _question(self, question: str) -> None:
        say = self._terminal.say
        if self._terminal.live:
            say(self._terminal.style(_DIM, "bot> "), end="")
        self._session.ask(question, lambda piece: say(piece, end=""))
        say("")
        if self._terminal.live and self._session.may_ask:
            self._ask()
        if self._terminal.live and self._session.round_is_due:
            say(self._terminal.style(_DIM, "a round is due: /round learns from what you judged"))

    def _ask(self) -> None:
        """The request that a kept exchange is worth; any other line is the next question or command."""
        self._session.asked()
        line = self._terminal.line("kept: was that right? y, n, e to correct it, or just go on> ")
        word = (line or "").strip()
        if word in ("y", "yes"):
            self._terminal.say(self._session.judge(None))
        elif word in ("n", "no"):
            self._terminal.say(self._session.judge(None, bad=True))
        elif word in ("e", "edit"):
            self._terminal.say(self._edit(""))
        elif word:
            self.take(word)

    def _edit(self, text: str) -> str:
        last = self._session.last
        if not text and last is not None:
            if not self._terminal.live:
                return "give the correction: /edit what it should have said"
            filled = last.answer.replace("\n", "\\n")
            text = (self._terminal.line("should have said> ", filled) or "").replace("\\n", "\n").strip()
            if not text:
                return "left as it is"
        return self._session.judge(text or None)

    def _base(self, _: str) -> str:
        base = self._session.base()
        last = self._session.last
        assert last is not None
        published = self._session.owner.buffer.progress.published
        return beside(
            (f"with adapter {published}" if published else "published: the base model", last.answer),
            ("base model", base),
            self._terminal.columns,
        )

    def _round(self, _: str) -> str:
        done = self._session.round()
        if not done["train_steps"]:
            return f"nothing learned: {done['reason']} (/edit, /good)"
        state = "published" if done["published"] else f"kept aside: {done['reason']}"
        learned = f"{done['train_sets']} sets and {done['variations']} variations"
        return f"round {done['round']}: learned from {learned} in {done['train_seconds']:.0f} s; {state}"

    def _status(self, _: str) -> str:
        owner = self._session.owner
        progress = owner.buffer.progress
        return table(
            [
                ("exchanges here", self._session.exchanges),
                ("sets seen", progress.position),
                ("kept", len(owner.buffer)),
                ("judged by you", owner.buffer.marks.annotated),
                ("rounds", progress.rounds),
                ("published", progress.published or "the base model"),
                ("next round at", owner.next_round),
            ]
        )


def chat(owner: Personalizer, read: TextIO | None = None, write: TextIO | None = None) -> dict[str, Any]:
    """Talk until the end of input; returns counts."""
    terminal = _Terminal(read or sys.stdin, write or sys.stdout)
    session = Session(owner)
    if terminal.live:
        published = owner.buffer.progress.published
        model = owner.settings.model or "the packaged model, which is weak and speaks simple English"
        terminal.say(
            f"This is {model}{f', adapter {published}' if published else ''}. What you say stays on this device. /help"
        )
    _Chat(session, terminal).run()
    progress = owner.buffer.progress
    return {
        "exchanges": session.exchanges,
        "kept": session.kept,
        "judged": session.verdicts,
        "seen": progress.position,
        "buffer_sets": len(owner.buffer),
        "published": progress.published or None,
    }
