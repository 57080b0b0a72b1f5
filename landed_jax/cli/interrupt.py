"""Ctrl-C ends a command at once, wherever it is, with status 130.

A `KeyboardInterrupt` would wait for XLA to finish compiling, be lost in a callback, or leave threads behind that crash
the process on its way out. So none is raised: a thread takes away what is half written and ends the process.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

_STATUS = 130
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


@contextlib.contextmanager
def ends_on_interrupt() -> Iterator[None]:
    """Within the block SIGINT ends this process; not where it is ignored or handled, nor outside the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    ending = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # Python's own part of the handling waits for the main thread; writing the signal's number does not.
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_wait, args=(receiver, sender, ending), daemon=True, name="interrupt").start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: Python's own end is not to be cut off
        if ending.is_set():
            threading.Event().wait()  # for the other thread, which ends the process


def _wait(receiver: socket.socket, sender: socket.socket, ending: threading.Event) -> None:
    while signal.SIGINT not in receiver.recv(64):
        pass
    ending.set()
    from landed_jax.files.unfinished import publishing, remove_unfinished

    try:
        stderr = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the main thread's errors about the removed files are not shown
        publishing.acquire()  # to the end
        remove_unfinished()
        os.write(stderr, (_SHOW_CURSOR if os.isatty(stderr) else b"") + b"\nlanded: interrupted\n")
    finally:
        os._exit(_STATUS)
