"""Immediate end of a command on Ctrl-C, with status 130.

A `KeyboardInterrupt` would wait until XLA has compiled, could be lost in a callback, or could leave threads running
that crash the process at exit. Instead, a thread removes unfinished files and ends the process.
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
    """SIGINT ends the process during the block, unless it is ignored or handled, or this is not the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    ending = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # Python's signal handlers wait for the main thread. The write to the wakeup descriptor does not.
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_wait, args=(receiver, sender, ending), daemon=True, name="interrupt").start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is done; Python's shutdown is not interrupted
        if ending.is_set():
            threading.Event().wait()  # wait for the other thread to end the process


def _wait(receiver: socket.socket, sender: socket.socket, ending: threading.Event) -> None:
    while signal.SIGINT not in receiver.recv(64):
        pass
    ending.set()
    from landed_jax.files.unfinished import publishing, remove_unfinished

    try:
        stderr = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hides the main thread's errors about removed files
        publishing.acquire()  # and never release it
        remove_unfinished()
        os.write(stderr, (_SHOW_CURSOR if os.isatty(stderr) else b"") + b"\nlanded: interrupted\n")
    finally:
        os._exit(_STATUS)
