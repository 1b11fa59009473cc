#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every fault point (src/common/fault.h) is broken by a test.

faults.py ROOT PROGRAM…: prints each point of these programs that no suite names; status 1 when
there is one. A suite names a point, or goes through all that begin alike: fault_points("create."
in C, `fault_points dm.revert` in bash.
"""
import os
import re
import subprocess
import sys

SUITES = ("tests/unit", "tests/vm", "tests/system")
ENDINGS = (".c", ".bats")
COMMENT = {".c": re.compile(r"/\*.*?\*/", re.S), ".bats": re.compile(r"^\s*#.*$", re.M)}
NAME = re.compile(r"[a-z]+(?:\.[a-z-]+)+")
PREFIXES = re.compile(r"""\bfault_points[ (]((?:["']?[a-z.-]+["']?[ ,)]*)+)""")
PREFIX = re.compile(r"[a-z]+\.[a-z-]*")


def points_of(program):
    run = subprocess.run([program], env={**os.environ, "UMBRA_TEST_FAULT": "list"}, check=True,
                         stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=20)
    return run.stdout.decode().split()


def texts(root):
    for suite in SUITES:
        for folder, _, files in os.walk(os.path.join(root, suite)):
            for name in files:
                ending = os.path.splitext(name)[1]
                if ending in ENDINGS:
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        yield COMMENT[ending].sub("", f.read())


def broken(text):
    """The points that a suite names, and the beginnings that it goes through."""
    prefixes = [p for call in PREFIXES.findall(text) for p in PREFIX.findall(call)]
    return set(NAME.findall(text)), set(prefixes)


def main():
    root, programs = sys.argv[1], sys.argv[2:]
    points = {point for program in programs for point in points_of(program)}
    names, prefixes = set(), set()
    for text in texts(root):
        more_names, more_prefixes = broken(text)
        names |= more_names
        prefixes |= more_prefixes
    missing = [p for p in sorted(points - names) if not p.startswith(tuple(prefixes))]
    for point in missing:
        print(f"{point}: no test breaks umbra there")
    if not points:
        print("no points: UMBRA_TEST_FAULT=list says nothing")
    return 1 if missing or not points else 0


if __name__ == "__main__":
    sys.exit(main())
