"""Starts a program that must not outlive its parent: `guard.py PARENT_PID PROGRAM ARGUMENTS...`.

On Linux the kernel is asked to end the program when the parent ends, and the guard becomes the program. Elsewhere the
guard stays, watches its standard input, which ends with the parent, and ends the program then. Standard library only:
it is started without the site packages, to be quick.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the kernel was asked.
            raise SystemExit(1)
        os.execv(program[0], program)  # noqa: S606
    child = subprocess.Popen(program)  # noqa: S603

    def watch() -> None:
        sys.stdin.buffer.read()
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    raise SystemExit(child.wait())


if __name__ == "__main__":
    main()
