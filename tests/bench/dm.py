#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Block copies beside the kernel's and LVM's own snapshots. Runs inside the guest (tests/vm/run);
tests/bench/run --only dm starts it there.

dm.py [--quick]: needs empty disks /dev/ubdb (1 GiB) and /dev/ubdc (1 GiB). Everything is measured
in this one run: the guest's times are worth their ratios only. Status 1: an aim is missed.
"""
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

QUICK = "--quick" in sys.argv
COPIES = [0, 1, 4] if QUICK else [0, 1, 4, 16, 64, 512]
CLASSIC = [c for c in COPIES if c <= 16]
WRITES = 400
FILE = 96 << 20  # what is written to
CHUNK = 16384
ROUNDS = 3 if QUICK else 5
STATE = "/scratch/state"
HAVE_LVM = shutil.which("lvcreate") is not None
MISSED = []


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=300, **options)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout + done.stderr)
        raise SystemExit(f"failed ({done.returncode}): {' '.join(command)}")
    return done.stdout.decode()


def table(title, rows):
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(str(cell).rjust(w) for cell, w in zip(row, widths)))
    sys.stdout.flush()


def aim(name, got, most):
    """Judged when not quick."""
    verdict = "" if QUICK else ": met" if got <= most else ": MISSED"
    print(f"  {name}: {got:.2f}, aim {most}{verdict}")
    if not QUICK and got > most:
        MISSED.append(name)


def dmsetup(*words):
    return run("dmsetup", *words)


def sectors(device):
    return int(run("blockdev", "--getsz", device))


class Volume:
    """A mounted linear device with a file to write to."""

    def __init__(self, name, disk, start, length):
        self.name, self.dev, self.mnt = name, f"/dev/mapper/{name}", f"/scratch/{name}"
        dmsetup("create", name, "--table", f"0 {length} linear {disk} {start}")
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.dev)
        os.makedirs(self.mnt, exist_ok=True)
        run("mount", self.dev, self.mnt)
        self.file = f"{self.mnt}/file"

    def fill(self, size):
        with open(self.file, "wb") as f:
            for _ in range(size >> 20):
                f.write(os.urandom(1 << 20))
        os.sync()

    def close(self):
        run("umount", self.mnt)
        dmsetup("remove", self.name)


def places(seed, size=FILE, n=WRITES):
    """n places, in n different chunks."""
    return [c * CHUNK for c in random.Random(seed).sample(range(size // CHUNK), n)]


def write_at(path, offsets):
    """Seconds for so many direct writes of 4 KiB."""
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    import mmap  # its memory is aligned
    buf = mmap.mmap(-1, 4096)
    buf.write(os.urandom(4096))
    begun = time.perf_counter()
    for at in offsets:
        os.pwrite(fd, buf, at)
    took = time.perf_counter() - begun
    os.close(fd)
    return took


def umbra(*words, now=None):
    env = dict(os.environ)
    if now:
        env["UMBRA_TEST_NOW"] = str(now)
    return run("umbra", "--state", STATE, *words, env=env)


def used():
    return json.loads(umbra("storage", "--json"))["areas"][0]["used"]


class Clock:
    """Every set has a second of its own; nobody waits for it here."""
    def __init__(self):
        self.now = 1_800_000_000

    def tick(self):
        self.now += 1
        return self.now


def measure(path):
    """First writes and rewrites, medians of rounds at other places each."""
    first, again = [], []
    for seed in range(ROUNDS):
        offsets = places(seed, n=WRITES // ROUNDS)
        first.append(write_at(path, offsets))
        again.append(write_at(path, offsets))
    return statistics.median(first), statistics.median(again)


def with_umbra(clock):
    volume = Volume("vol", "/dev/ubdb", 0, sectors("/dev/ubdb"))
    volume.fill(FILE)
    result, made = {}, 0
    for copies in COPIES:
        while made < copies:
            # Something to keep in each of them.
            write_at(volume.file, places(1000 + made, n=4))
            umbra("create", volume.mnt, now=clock.tick())
            made += 1
        before = used() if copies else 0
        first, again = measure(volume.file)
        result[copies] = (first, again, used() - before if copies else 0)
    # The oldest copy, read through all the others.
    reads = read_oldest(volume)
    memory = int(run("sh", "-c", "awk '/^Slab/ {print $2}' /proc/meminfo"))
    umbra("delete", "--yes", "--all", volume.mnt)
    umbra("storage", "remove", volume.mnt)
    volume.close()
    return result, reads, memory


def read_oldest(volume):
    tree = "/scratch/tree"
    os.makedirs(tree, exist_ok=True)
    umbra("mount", tree)
    oldest = sorted(n for n in os.listdir(tree) if n.startswith("@"))[0]
    times = {}
    for name, path in (("volume", volume.file), ("oldest copy", f"{tree}/{oldest}{volume.file}")):
        run("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
        begun = time.perf_counter()
        with open(path, "rb") as f:
            while f.read(1 << 20):
                pass
        times[name] = time.perf_counter() - begun
    umbra("umount", tree)
    return times


def classic():
    """dm-snapshot as it is: every copy is fed."""
    result = {}
    size = 256 << 11
    for copies in CLASSIC:
        dmsetup("create", "base", "--table", f"0 {size} linear /dev/ubdb 0")
        dmsetup("create", "origin", "--table", f"0 {size} snapshot-origin /dev/mapper/base")
        names = []
        for i in range(copies):
            part = 60 << 11
            dmsetup("create", f"cow{i}", "--table", f"0 {part} linear /dev/ubdc {i * part}")
            run("dd", "if=/dev/zero", f"of=/dev/mapper/cow{i}", "bs=64k", "count=1",
                "oflag=direct")
            dmsetup("suspend", "origin")
            dmsetup("create", f"snap{i}", "--table",
                    f"0 {size} snapshot /dev/mapper/base /dev/mapper/cow{i} P 32")
            dmsetup("resume", "origin")
            names.append(f"snap{i}")
        first, again = measure("/dev/mapper/origin")
        space = sum(int(dmsetup("status", n).split()[3].split("/")[0]) * 512 for n in names)
        result[copies] = (first, again, space)
        dmsetup("remove", "origin")
        for i in range(copies):
            dmsetup("remove", f"snap{i}")
            dmsetup("remove", f"cow{i}")
        dmsetup("remove", "base")
    return result


class Lvm:
    """A volume group over the disk, with a logical volume at a time."""
    OPTIONS = ["--config", "activation{udev_sync=0 udev_rules=0} "
               "devices{filter=[\"a|/dev/ubdb|\",\"r|.*|\"]} global{use_lvmpolld=0}"]
    dev = "/dev/vg/data"

    def __init__(self):
        self.call("pvcreate", "-ff", "-y", "/dev/ubdb")
        self.call("vgcreate", "vg", "/dev/ubdb")

    def call(self, command, *words):
        run(command, *self.OPTIONS, *words)

    def make(self):
        self.call("lvcreate", "-y", "-n", "data", "-L", "256M", "vg")

    def snapshot(self, i):
        self.call("lvcreate", "-y", "-s", "-n", f"s{i}", "-L", "60M", "-c", "16k", "vg/data")

    def drop(self):
        self.call("lvremove", "-y", "vg/data")

    def close(self):
        self.call("vgremove", "-y", "vg")
        self.call("pvremove", "-y", "/dev/ubdb")


def with_lvm():
    lvm, result = Lvm(), {}
    for copies in [c for c in CLASSIC if c <= 4]:
        lvm.make()
        for i in range(copies):
            lvm.snapshot(i)
        result[copies] = (*measure(lvm.dev), 0)
        lvm.drop()
    lvm.close()
    return result


def creations(path, create):
    """Seconds of a creation, each after some writes: the median of those that are not the first."""
    times = []
    for i in range(4):
        write_at(path, places(i, 4 << 20, 20))
        begun = time.perf_counter()
        create(i)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def umbra_creations(clock):
    volume = Volume("vol", "/dev/ubdb", 0, 256 << 11)
    volume.fill(4 << 20)
    took = creations(volume.file, lambda i: umbra("create", volume.mnt, now=clock.tick()))
    umbra("delete", "--yes", "--all", volume.mnt)
    umbra("storage", "remove", volume.mnt)
    volume.close()
    return took


def lvm_creations():
    lvm, mnt = Lvm(), "/scratch/lv"
    os.makedirs(mnt, exist_ok=True)
    lvm.make()
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", lvm.dev)
    run("mount", lvm.dev, mnt)
    with open(f"{mnt}/file", "wb") as f:
        f.write(os.urandom(4 << 20))
    os.sync()
    took = creations(f"{mnt}/file", lvm.snapshot)
    run("umount", mnt)
    lvm.drop()
    lvm.close()
    return took


def row(name, result, copies):
    if copies not in result:
        return None
    first, again, space = result[copies]
    n = WRITES // ROUNDS
    return [name, copies, f"{first / n * 1e6:.0f} us", f"{again / n * 1e6:.0f} us",
            f"{space >> 10} KiB"]


# 12 MiB/s, in a process that does nothing else.
WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
data = os.urandom(256 << 10)
while True:
    os.pwrite(fd, data, 0)
    time.sleep(0.02)
"""


def hold(clock, volumes, copies, samples):
    """(p50, p99) of the hold in milliseconds, of so many mounted volumes being written."""
    size = sectors("/dev/ubdb") // 8 // 8 * 8
    vols = [Volume(f"v{i}", "/dev/ubdb", i * size, size) for i in range(volumes)]
    for v in vols:
        v.fill(4 << 20)
        umbra("storage", "add", "--size", "60M", v.mnt)
    paths = [v.mnt for v in vols]
    for i in range(copies):
        for v in vols:
            write_at(v.file, places(i, 4 << 20, 2))
        umbra("create", *paths, now=clock.tick())
    # A little, again and again: there must be room for all those copies.
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, f"{v.mnt}/w"]) for v in vols]
    times, walls = [], []
    try:
        for _ in range(samples):
            begun = time.perf_counter()
            doc = json.loads(umbra("create", "--json", *paths, now=clock.tick()))
            walls.append(time.perf_counter() - begun)
            times.append(doc["hold_us"] / 1000)
    finally:
        for w in writers:
            w.kill()
            w.wait()
    kept = len(json.loads(umbra("list", "--json"))["sets"])
    if kept < copies + samples:
        raise SystemExit(f"only {kept} of {copies + samples} sets were kept: a diff area too small")
    umbra("delete", "--yes", "--all", paths[0])
    for v in vols:
        umbra("storage", "remove", v.mnt)
        v.close()
    times.sort()
    return (statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))],
            statistics.median(walls))


def first_writes(clock):
    ours, reads, slab = with_umbra(clock)
    rows = [["", "copies", "first write", "rewrite", "space"]]
    rows += [row("umbra", ours, c) for c in COPIES]
    kernel = classic()
    rows += [row("dm-snapshot", kernel, c) for c in CLASSIC]
    if HAVE_LVM:
        other = with_lvm()
        rows += [r for r in (row("lvcreate -s", other, c) for c in CLASSIC) if r]
    table(f"Direct writes of 4 KiB, a copy being {CHUNK >> 10} KiB chunks", rows)
    most = COPIES[-1]
    aim(f"first write with {most} copies to one", ours[most][0] / ours[1][0], 1.1)
    aim(f"space with {most} copies to one", ours[most][2] / max(ours[1][2], 1), 1.2)
    table("Reading the file again, cold", [[name, f"{t * 1000:.0f} ms"] for name, t in reads.items()])
    print(f"  kernel's slabs with {most} copies: {slab >> 10} MiB")


def holds(clock):
    copies, samples = (4, 5) if QUICK else (64, 40)
    rows, got = [["volumes", "hold p50", "p99", "umbra create"]], {}
    for volumes in (1, 8):
        got[volumes] = hold(clock, volumes, copies, samples)
        rows.append([volumes, *[f"{t:.2f} ms" for t in got[volumes][:2]],
                     f"{got[volumes][2] * 1000:.0f} ms"])
    table(f"The hold of mounted, written volumes with {copies} copies", rows)
    for volumes, most in {1: 10, 8: 50}.items():
        aim(f"hold of {volumes}, p99 in ms", got[volumes][1], most)


def one_creation(clock):
    ours, other = umbra_creations(clock), lvm_creations()
    table("A creation on a mounted volume at rest",
          [["umbra create", f"{ours * 1000:.0f} ms"], ["lvcreate -s", f"{other * 1000:.0f} ms"]])
    aim("umbra create to lvcreate -s", ours / other, 1.0)


def main():
    clock = Clock()
    holds(clock)
    if HAVE_LVM:
        one_creation(clock)
    else:
        print("\nlvcreate -s: skipped, no LVM here")
    first_writes(clock)
    if MISSED:
        print(f"\n{len(MISSED)} aims missed")
    sys.exit(1 if MISSED else 0)


if __name__ == "__main__":
    main()
