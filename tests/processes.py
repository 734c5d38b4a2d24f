"""For tests that start programs of their own."""

import signal


def heed_interrupts() -> None:
    """As `preexec_fn`: the program heeds Ctrl-C, even where the tests themselves run in the background and do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
