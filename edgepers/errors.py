"""Every error that a user can meet.

EdgepersError            exit 1: a known failure, one line, with its cure
├── UsageError           exit 2: an option or argument that cannot be right
├── ShapeError           a tensor argument of the wrong rank, dtype, device or content
├── StreamError          a stream, annotation file or test set that cannot be read
├── ModelError           a model that cannot be loaded or does not fit its use
│   └── UncountableError a model whose memory cannot be told before it is used
├── StateError           a state folder that is missing, busy, damaged or of another kind
│   └── BusyError        another process works on it
├── UpstreamError        a server before which this one stands, that does not do what it is asked
├── BudgetError          bytes of storage or memory that do not suffice
│   └── MicroBatchHalvedError   memory ran out in training, which goes on with less when it is asked for again
└── RoundError           a round's process that ended before its work was done
    └── RoundStoppedError       it was asked to
"""

__all__ = [
    "BudgetError",
    "BusyError",
    "EdgepersError",
    "MicroBatchHalvedError",
    "ModelError",
    "RoundError",
    "RoundStoppedError",
    "ShapeError",
    "StateError",
    "StreamError",
    "UncountableError",
    "UpstreamError",
    "UsageError",
    "first_line",
    "nothing_yet",
]


class EdgepersError(Exception):
    """Base of all errors raised on purpose; its text is one line that names the value and the cure."""


class UsageError(EdgepersError):
    """An option or argument that cannot be right."""


class ShapeError(EdgepersError):
    """A tensor argument of the wrong rank, dtype, device or content."""


class StreamError(EdgepersError):
    """A stream, annotation file or test set that cannot be read."""


class ModelError(EdgepersError):
    """A model that cannot be loaded or does not fit its use."""


class UncountableError(ModelError):
    """A model whose memory cannot be told before it is used."""


class StateError(EdgepersError):
    """A state folder that is missing, busy, damaged or of another kind."""


class BusyError(StateError):
    """A state that another process works on."""


class UpstreamError(EdgepersError):
    """A server before which this one stands, that cannot be reached or does not do what it is asked."""


class BudgetError(EdgepersError):
    """Bytes of storage or memory that do not suffice."""


class MicroBatchHalvedError(BudgetError):
    """Memory ran out in training: asked for again, it goes on from its last step with half the micro-batch.

    Attributes:
        what: happened, without a cure.
        micro_batch_tokens: of the next attempt.
    """

    def __init__(self, what: str, micro_batch_tokens: int) -> None:
        super().__init__(
            f"{what}; do it again: it goes on from there with micro-batches of {micro_batch_tokens} tokens, half as"
            " many"
        )
        self.what = what
        self.micro_batch_tokens = micro_batch_tokens


class RoundError(EdgepersError):
    """A round's process that ended before its work was done."""


class RoundStoppedError(RoundError):
    """A round that was asked to stop."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nothing_yet(folder: object) -> StateError:
    """The error of asking for a state that no run has made."""
    return StateError(f"state {folder}: nothing there yet; make it with 'edgepers run STREAM --state {folder}'")
