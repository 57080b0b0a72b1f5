"""Ctrl-C ends a command at once, wherever it is, with status 130.

A `KeyboardInterrupt` would wait for XLA to finish compiling, be lost in a callback, or leave threads behind that crash
the process on its way out. So none is raised: a thread takes away what is half written and ends the process.
"""

import os
import signal
import socket
import threading

_STATUS = 130
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


def exit_on_interrupt() -> None:
    """From now on SIGINT ends this process; not where it is ignored or handled already, nor outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # Python's own part of the handling waits for the main thread; writing the signal's number does not.
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_wait, args=(receiver, sender), daemon=True, name="interrupt").start()


def _wait(receiver: socket.socket, sender: socket.socket) -> None:
    while signal.SIGINT not in receiver.recv(64):
        pass
    from landed_jax.files.unfinished import remove_unfinished

    try:
        remove_unfinished()
        cursor = _SHOW_CURSOR if os.isatty(2) else b""
        os.write(2, cursor + b"\nlanded: interrupted\n")
    finally:
        os._exit(_STATUS)
