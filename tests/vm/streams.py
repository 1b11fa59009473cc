# SPDX-License-Identifier: LGPL-2.1-or-later
"""What comes out of the guest: its consoles.

A console that writes to a pipe loses what a slow reader does not take at once; one that writes to a
file loses nothing. So they are files, and this follows them.
"""
import contextlib
import os
import pty
import select
import termios
import tty

TICK = 0.02  # seconds


def write(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Follow:
    """A file that grows, passed on to a descriptor."""

    def __init__(self, path, to):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.offset, self.to = 0, to

    def pump(self):
        while data := os.pread(self.fd, 1 << 16, self.offset):
            self.offset += len(data)
            write(self.to, data)

    def read(self):
        return os.pread(self.fd, 64, 0)


class Output:
    """Standard output and error, apart."""

    size = None

    def __init__(self, directory):
        self.followed = [Follow(os.path.join(directory, name), to)
                         for name, to in (("stdout", 1), ("stderr", 2))]
        self.fds = [follow.fd for follow in self.followed]
        self.words = [f"con1=null,fd:{self.fds[0]}", f"con2=null,fd:{self.fds[1]}"]

    def pump(self):
        for follow in self.followed:
            follow.pump()

    def wait(self):
        select.select([], [], [], TICK)

    def close(self):
        pass


class Terminal:
    """Ours, both ways, over one that the guest may do with as it likes."""

    def __init__(self):
        self.before = termios.tcgetattr(0)
        self.size = os.get_terminal_size(0)
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.fds = [slave]
        self.words = [f"con1=fd:{slave},fd:{slave}"]
        self.silent, self.typing = True, True
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead stays

    def pump(self):
        while select.select([self.master], [], [], 0)[0]:
            self.silent = False
            write(1, os.read(self.master, 1 << 16))

    def wait(self):
        # What is typed before the guest speaks would be lost.
        sources = [self.master] if self.silent or not self.typing else [0, self.master]
        if 0 not in select.select(sources, [], [], TICK * 5)[0]:
            return
        data = os.read(0, 256)
        self.typing = bool(data)
        write(self.master, data)

    def close(self):
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(0, termios.TCSADRAIN, self.before)
