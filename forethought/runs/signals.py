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
ABORT_AFTER = 0.5  # s; an earlier second signal counts as the same request (a terminal and `timeout` send two)
HINT = "stopping; a second Ctrl-C aborts at once (rounds on disk stay intact)"


class Interrupted(ForethoughtError):
    """The training was interrupted; the run can be resumed."""

    exit_status = 130


class Interruption:
    """A request to stop.

    The handler raises an exception, but a library may swallow it (in a garbage-collection callback, for example).  The
    request is therefore recorded first, and loops call `check` regularly.
    """

    signal: int | None = None

    def on_signal(self, number: int, frame: object) -> None:
        """Record the signal; raise in the main thread, unless it is already stopping."""
        del frame
        if self.signal is None:
            self.signal = number
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a signal was received."""
        if self.signal is not None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def noted() -> Iterator[Interruption]:
    """Within this context, SIGINT is recorded as well as raised, for an `interruptible` block that begins later.

    It covers imports and compilation, which may swallow exceptions.
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
    """Within this context, the first SIGINT or SIGTERM raises `KeyboardInterrupt`; a second one ends the process.

    Python runs a signal handler only between two bytecodes, so a long compiled call delays it.  A separate thread,
    woken by the signal, therefore prints a hint at once and ends the process at a second signal.  Outside of the main
    thread, where Python allows no handlers, the context has no effect.

    Args:
        say: prints a message for the user.
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
        writer.close()  # ends the watching thread
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, say: Callable[[str], None]) -> None:
    """Print HINT at the first signal; end the process at a second one."""
    hinted = None
    while numbers := reader.recv(64):
        if not any(number in SIGNALS for number in numbers):
            continue
        if hinted is None:
            say(HINT)
            _drain(reader)  # signals sent before the hint was printed are no response to it
            hinted = time.monotonic()
        elif time.monotonic() - hinted > ABORT_AFTER:
            os._exit(Interrupted.exit_status)


def _drain(reader: socket.socket) -> None:
    reader.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        reader.recv(64)
    reader.setblocking(True)
