#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""opens.py SECONDS DIRECTORY: how often it, or what lies in it, is opened meanwhile."""
import ctypes
import os
import select
import struct
import sys
import time

IN_OPEN = 0x20
HEAD = struct.Struct("iIII")


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(sys.argv[2]), IN_OPEN) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    until = time.monotonic() + float(sys.argv[1])
    n = 0
    while (left := until - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            continue
        events = os.read(fd, 65536)
        while events:
            length = HEAD.unpack_from(events)[3]
            events = events[HEAD.size + length:]
            n += 1
    print(n)


main()
