# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the guest's kernel is given: memory, disks, a command line, and the job for process 1."""
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
MODULES = "/usr/lib/uml/modules"
PASSED = re.compile(r"PATH|HOME|TERM|LANG|LC_.*|TZ|CI|TEST_LIMIT|COMMAND_LIMIT|BATS_LIB_PATH|"
                    r"[A-Z]+SAN_OPTIONS|UMBRA_.*")
LATE = 5  # seconds before the end, in which it shows where its processes are
DISKS = 7
SCRATCH = "8G"  # its file is sparse
MKFS = {"ext4": ["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"], "xfs": ["-q", "-K"],
        "btrfs": ["-q", "-K"]}


class Unable(Exception):
    """Nothing is wrong but this machine."""


def program(name, package):
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    found = shutil.which(name, path=path)
    if not found:
        raise Unable(f"no {name} (package {package})")
    return found


def kernel():
    found = program("linux.uml", "user-mode-linux")
    program("modprobe", "kmod")
    if not os.path.isdir(MODULES):
        raise Unable(f"no {MODULES} (package user-mode-linux)")
    return found


def size_of(text):
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if not match:
        raise ValueError(f"'{text}' is not a size")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2]]


def has_room(directory, size):
    """Directory is one where files can be executed, and there are so many bytes."""
    try:
        fs = os.statvfs(directory)
    except OSError:
        return False
    return not fs.f_flag & os.ST_NOEXEC and fs.f_bavail * fs.f_frsize >= size and \
        os.access(directory, os.W_OK)


def memory_directory(size):
    """Where the file that is the guest's memory has room and can be executed."""
    for directory in ("/dev/shm", "/tmp", "/var/tmp"):
        if has_room(directory, size_of(size)):
            return directory
    raise Unable(f"no room for its memory ({size}) in /dev/shm, /tmp or /var/tmp")


def disk_directory(sizes):
    """In memory, where each flush of the guest costs nothing, if there is room for two guests."""
    need = 2 * (sum(map(size_of, sizes)) + (2 << 30))
    return "/dev/shm" if has_room("/dev/shm", need) else "/var/tmp"


class Processor:
    """One of our own, as long as we live: the guest's kernel and its processes take turns, and on
    one processor the turn passes more than twice as fast."""

    def __init__(self):
        self.claim = socket.socket(socket.AF_UNIX)
        allowed = sorted(os.sched_getaffinity(0))
        self.number = next(filter(self.take, allowed), random.choice(allowed))

    def take(self, number):
        try:
            self.claim.bind(f"\0umbra-vm-processor-{number}")
        except OSError:
            return False
        return True


class Disks:
    """Files without a name. The first is for /scratch."""

    def __init__(self, fs, sizes):
        directory = disk_directory(sizes)
        self.files = [tempfile.TemporaryFile(dir=directory) for _ in [SCRATCH, *sizes]]
        for file, size in zip(self.files, [SCRATCH, *sizes]):
            file.truncate(size_of(size))
        if fs != "none":
            mkfs = program(f"mkfs.{fs}", f"with mkfs.{fs}")
            subprocess.run([mkfs, *MKFS[fs], self.path(0)], check=True, pass_fds=self.fds,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    @property
    def fds(self):
        return [file.fileno() for file in self.files]

    def path(self, number):
        return f"/proc/self/fd/{self.files[number].fileno()}"

    @property
    def words(self):
        return [f"ubd{i}={self.path(i)}" for i in range(len(self.files))]

    def close(self):
        for file in self.files:
            file.close()


def command_line(directory, args, disks):
    shutil.copy(os.path.join(HERE, "init"), directory)
    return [kernel(), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
            "selinux=0", "oops=panic", f"mem={args.mem}", f"init={directory}/init",
            # It measures for a second which way of making RAID parity is the fastest.
            "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks",
            f"uml_dir={directory}/", "umid=guest", *disks.words]


def environment():
    chosen = {"HOME": "/root"}
    chosen.update((name, value) for name, value in os.environ.items() if PASSED.fullmatch(name))
    # No udev runs there to make device nodes, or to answer libdevmapper.
    chosen.update(UMBRA_GUEST="1", UMBRA_TEST_DIR="/scratch", DM_DISABLE_UDEV="1")
    return [f"{name}={value}" for name, value in chosen.items()]


def write_job(directory, args, size):
    """size: rows and columns of the terminal that the command has, or None."""
    job = {"fs": args.fs, "out": os.path.realpath(args.out) if args.out else "",
           "cwd": os.getcwd(), "late": str(int(time.time() + args.time - LATE)),
           "terminal": "rows {1} cols {0}".format(*size) if size else ""}
    with open(os.path.join(directory, "job"), "w", errors="surrogateescape") as file:
        for name, value in job.items():
            print(f"{name}={shlex.quote(value)}", file=file)
        words = ["env", "-i", *environment(), *args.command]
        print(f"command=({shlex.join(words)})", file=file)
