"""Ctrl-C and SIGTERM during training: stop at once and leave a run that can be resumed."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

from forethought.core.errors import ForethoughtError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ABORT_AFTER = 0.5  # s; a second signal sooner than this is the same request (a terminal and `timeout` send two)
HINT = "stopping; a second Ctrl-C aborts at once (rounds on disk stay intact)"


class Interrupted(ForethoughtError):
    """Someone stopped the training; the run can be resumed."""

    exit_status = 130


class Interruption:
    """Whether someone asked to stop.

    Raising in the handler is a shortcut: an exception that a library swallows, a garbage-collection callback say, is
    lost.  The wish is noted first, and whoever works in a loop calls `check` now and then.
    """

    signal: int | None = None

    def on_signal(self, number: int, frame: object) -> None:
        """Note the signal; leave the main thread's work, unless it is on its way out already."""
        del frame
        if self.signal is None:
            self.signal = number
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a signal came."""
        if self.signal is not None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def noted() -> Iterator[Interruption]:
    """While inside, SIGINT is noted as well as raised, for an `interruptible` block that begins later.

    Importing and compiling come first, and swallow exceptions now and then.
    """
    interruption = Interruption()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interruption
        return
    signal.signal(signal.SIGINT, interruption.on_signal)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Interruption]:
    """While inside, the first SIGINT or SIGTERM is noted and raises `KeyboardInterrupt`; a second one ends the process.

    Python runs a signal's handler only between two bytecodes, so a long compiled call delays it; a thread that the
    signal wakes answers at once, and ends the process at a second signal.  Outside the main thread, where Python
    allows no handlers, this does nothing.

    Args:
        say: tells the person something.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, say), daemon=True)
    earlier_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    earlier = {number: signal.signal(number, interruption.on_signal) for number in SIGNALS}
    watcher.start()
    try:
        for handler in earlier.values():
            noted_before = getattr(handler, "__self__", None)  # the owner of `Interruption.on_signal`, see `noted`
            if isinstance(noted_before, Interruption):
                interruption.signal = interruption.signal or noted_before.signal
        yield interruption
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_wakeup)
        writer.close()  # ends the watcher
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, say: Callable[[str], None]) -> None:
    """Say HINT at the first signal; end the process at a second one."""
    hinted = None
    while numbers := reader.recv(64):
        if not any(number in SIGNALS for number in numbers):
            continue
        if hinted is None:
            say(HINT)
            _drain(reader)  # what came before the hint could be read is no answer to it
            hinted = time.monotonic()
        elif time.monotonic() - hinted > ABORT_AFTER:
            os._exit(Interrupted.exit_status)


def _drain(reader: socket.socket) -> None:
    reader.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        reader.recv(64)
    reader.setblocking(True)
