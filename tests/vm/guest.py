# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of the guest."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import machine
from keeper import Keeper
from streams import Follow, Output, Terminal

TIME_OVER, DIED = 124, 125
KERNEL_LINES = 100


BOOTED = re.compile(r"^Run .* as init process\n", re.M)
NOISE = re.compile(r"^epollctl add err.*\n", re.M)  # of consoles that are files


class TimeOver(Exception):
    pass


def run(args):
    # Its path is a word of the kernel's command line.
    directory = tempfile.mkdtemp(prefix="umbra-vm.", dir="/var/tmp")
    try:
        output = Terminal() if args.tty else Output(directory)
        try:
            return start(args, directory, output)
        finally:
            output.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def start(args, directory, output):
    log = os.path.join(directory, "log")
    status = Follow(os.path.join(directory, "status"), None)
    machine.write_job(directory, args, output.size)
    disks = machine.Disks(args.fs, args.disk)
    processor = machine.Processor()
    words = [machine.program("taskset", "util-linux"), "-c", str(processor.number)]
    words += machine.command_line(directory, args, disks)
    words += ["con=null", "con0=null,fd:1", *output.words, f"con3=null,fd:{status.fd}"]
    with open(log, "wb") as kernel:
        keeper = Keeper(words, directory, cwd=directory, stdin=subprocess.DEVNULL, stdout=kernel,
                        stderr=kernel, pass_fds=[*output.fds, *disks.fds, status.fd],
                        env=dict(os.environ, TMPDIR=machine.memory_directory(args.mem)))
    try:
        result, what = watch(keeper, output, status, args.time)
        messages = read_log(log)
        if args.log:
            shutil.copyfile(log, args.log)
    finally:
        keeper.close()
        disks.close()
    if result == DIED and not BOOTED.search(messages):
        tell(what, messages)
        raise machine.Unable("its kernel does not start")
    if what:
        tell(what, BOOTED.split(messages)[-1])
    return result


def watch(keeper, output, status, limit):
    """The status, and what went wrong. A reader of ours who does not read cannot keep us."""
    try:
        with alarm(limit):
            result = follow(keeper, output, status)
    except TimeOver:
        return TIME_OVER, f"killed after {limit:g} s"
    if result is None:
        return DIED, "the guest died"
    return result, f"the command ended with status {result}" if result > 128 else None


def follow(keeper, output, status):
    while True:
        result, ended = status.read(), keeper.ended()
        output.pump()
        if result.endswith(b"\n"):
            return int(result)
        if ended:
            return None
        output.wait()


@contextlib.contextmanager
def alarm(limit):
    def over(_number, _frame):
        raise TimeOver

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def read_log(log):
    with open(log, errors="replace") as file:
        return NOISE.sub("", file.read())


def tell(what, messages):
    try:
        with alarm(5):
            print(f"tests/vm/run: {what}; its kernel's last messages:",
                  *messages.splitlines()[-KERNEL_LINES:], sep="\n  | ", file=sys.stderr, flush=True)
    except TimeOver:
        pass
