# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that starts a program and leaves nothing of it, whatever becomes of who asked.

It ends the program, all that the program started and the directory when the one who holds the
other end of its pipe lets go of it, killed or not.
"""
import ctypes
import os
import select
import shutil
import signal
import subprocess

PR_SET_CHILD_SUBREAPER = 36


class Keeper:
    """ended() is readable when the program has ended; close() returns when nothing is left."""

    def __init__(self, argv, directory, **popen):
        ours, leash = os.pipe()
        ended, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(leash)
            os.close(ended)
            try:
                keep(ours, end, argv, directory, popen)
            finally:
                os._exit(0)
        os.close(ours)
        os.close(end)
        self.leash, self.end = leash, ended

    def ended(self):
        return bool(select.select([self.end], [], [], 0)[0])

    def close(self):
        os.close(self.leash)
        os.waitpid(self.pid, 0)
        os.close(self.end)


def keep(ours, end, argv, directory, popen):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        program = subprocess.Popen(argv, start_new_session=True, **popen)
        select.select([ours, os.pidfd_open(program.pid)], [], [])
        end_all()
        os.close(end)
        select.select([ours], [], [])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def end_all():
    """Children, and those that come to us when their parent ends: some begin a session."""
    try:
        while True:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def children():
    """A child that has ended keeps its number until it is waited for."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    yield int(name)
        except (FileNotFoundError, ProcessLookupError):
            pass
