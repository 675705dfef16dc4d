"""Holds a memory system's process and whatever that starts: the root of its tree, which nothing leaves.

``python guard.py NUMBER`` starts child.py with that socket, and ends as that ended.  What a system detaches (a database
that makes itself a daemon, with a session of its own) would be nobody's: its memory counted nowhere, and it would
outlive the system.  The guard is a "child subreaper" (prctl(2), PR_SET_CHILD_SUBREAPER), so that such processes become
its own; it kills them when the system's process has ended, and all of them when the host has.

It runs under the system's own Python, and knows the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 1.0
"""Between two looks for detached processes that have ended, whose entries are freed then."""


def main() -> None:
    """Starts the child, waits for it or for the host's end, leaves nothing, and ends as the child did."""
    host = os.getppid()
    number = int(sys.argv[1])
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(go)
        os.read(ready, 1)  # until the guard takes what is detached
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
        os.set_inheritable(number, True)
        os.execv(sys.executable, [sys.executable, program, str(number)])
    os.close(number)  # else the host would not see its end
    _adopt_orphans()
    os.close(ready)
    os.close(go)
    status = _wait(child, host)
    _kill_all()
    _end_as(status)


def _adopt_orphans() -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print(f"perfsuite: what this system detaches will not be found: {os.strerror(ctypes.get_errno())}", flush=True)


def _wait(child: int, host: int) -> int:
    """The child's wait status; it is killed when the host ends first."""
    watched = select.poll()
    with contextlib.suppress(OSError):
        watched.register(os.pidfd_open(host), select.POLLIN)
        watched.register(os.pidfd_open(child), select.POLLIN)
    killed = False
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    return ended[1]
        if os.getppid() != host and not killed:
            os.kill(child, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
            killed = True
            watched = select.poll()
        watched.poll(LOOK_S * 1000 if not killed else 10)


def _kill_all() -> None:
    """Kills and reaps until there is none: what a killed process leaves is the guard's again."""
    while True:
        for process in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as listed:
        return [int(one) for one in listed.read().split()]


def _end_as(status: int) -> None:
    """Ends by the signal, or with the exit status, that the child ended by."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child's own is enough
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
