"""Becomes another program, one that does not outlive the process that asked for it.

`python -IS guard.py PID COMMAND...`, started by the process PID. On Linux the kernel ends the program as soon as that
process is gone, whatever ended it, `kill -9` included. Elsewhere the program is on its own.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def guarded(*command: str) -> list[str]:
    """How to start a program so that it ends with the process, and on Linux with the very thread, that starts it."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    """Does not return: from here on this process is the command."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:
            sys.exit("the launcher ended before its child had begun")
    os.execvp(command[0], command)  # noqa: S606  the command is the launcher's own


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
