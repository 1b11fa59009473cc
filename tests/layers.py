#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares every #include line with the arrow diagram of HACKING.md.

layers.py [ROOT]: prints each line that breaks a rule; status 1 when there is one.
"""
import os
import re
import sys

# A box, the files that belong to it, and the boxes whose headers it may include besides its own.
# A box may only name boxes above it, so there can be no cycle between boxes.
BOXES = [
    ("common", r"src/common/", []),
    ("writer", r"src/writer/", ["common"]),
    ("sys", r"snapshot/sys/", ["common"]),
    ("provider contract", r"snapshot/(provider|revert|root|set|storage|volume)\.h", ["sys", "common"]),
    ("dm pool", r"snapshot/provider/dm/pool/", ["provider contract", "common"]),
    ("dm device", r"snapshot/provider/dm/device/", ["dm pool", "provider contract", "sys", "common"]),
    ("dm volume", r"snapshot/provider/dm/volume/",
     ["dm device", "dm pool", "provider contract", "sys", "common"]),
    ("provider", r"snapshot/provider/", ["dm volume", "dm device", "dm pool", "provider contract",
                                         "sys", "common"]),
    ("snapshot", r"snapshot/[^/]*$", ["provider contract", "sys", "common"]),
    ("coordinator client", r"src/coordinator/client\.h",
     ["snapshot", "provider contract", "common"]),
    ("coordinator", r"src/coordinator/",
     ["coordinator client", "snapshot", "provider contract", "sys", "common"]),
    ("guard", r"src/guard/", ["sys", "common"]),
    ("daemon", r"src/daemon/",
     ["coordinator client", "snapshot", "provider contract", "common"]),
    ("snapshot for readers", r"snapshot/snapshot\.h", ["snapshot", "provider contract", "common"]),
    ("fuse", r"fuse/", ["snapshot for readers", "common"]),
    ("cli", r"src/cli/", ["coordinator client", "snapshot for readers", "snapshot",
                          "provider contract", "common"]),
    ("tests", r"tests/", None),
]
# The first pattern that matches decides: single headers before their folders, inner folders first.
MATCH = sorted(BOXES, key=lambda box: (not box[1].endswith(r"\.h"), -box[1].count("/")))

# Libraries that one place wraps: header, and the only files that may include it.
WRAPPED = [
    (r"(btrfs|linux/btrfs|libbtrfs)", r"snapshot/sys/"),
    (r"(sys/mount|linux/mount|linux/fsmap|linux/fiemap)\.h", r"snapshot/sys/"),
    (r"(libdevmapper|linux/dm-ioctl)\.h", r"snapshot/sys/"),
    (r"(fuse|fuse3|linux/fuse|fuse_lowlevel)(/|\.h)", r"fuse/"),
    (r"sqlite3\.h", r"snapshot/catalog_db\.h"),
    (r"criterion/", r"tests/"),
]

# Written by meson: the path and the only file that may include it.
GENERATED = {
    "snapshot/provider/providers.inc": "snapshot/providers.c",
    "cli/commands.inc": "src/cli/main.c",
    "install.h": None,
    "version.h": None,
}

# [ \t] and not \s: a directive ends with its line.
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*(?:include|include_next|import)[ \t]*(\S.*)$', re.M)
TARGET = re.compile(r'(?:"([^"]+)"|<([^>]+)>)')
FOLDERS = ("src", "snapshot", "fuse", "tests")


def sources(root):
    for folder in FOLDERS:
        for where, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = [d for d in dirs if not d.startswith((".", "build"))]
            for name in names:
                if name.endswith((".c", ".h", ".inc")):
                    yield os.path.relpath(os.path.join(where, name), root)


def box_of(path):
    for name, pattern, _ in MATCH:
        if re.match(pattern, path):
            return name
    return None


def resolve(root, path, target):
    """Where the compiler finds it: beside the file, then the include directories."""
    for base in (os.path.dirname(path), "", "src"):
        found = os.path.normpath(os.path.join(base, target))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def provider_of(path):
    m = re.match(r"snapshot/provider/([^/.]+)", path)
    return m and m[1]


def check_own(root, path, target):
    if target in GENERATED:
        only = GENERATED[target]
        return f"is for {only} alone" if only not in (None, path) else None
    found = resolve(root, path, target)
    if found is None:
        return "is not a file of ours: use <> for the system's"
    mine, theirs = box_of(path), box_of(found)
    if theirs is None:
        return "lies in no box of the diagram"
    allowed = dict((name, may) for name, _, may in BOXES)[mine]
    if provider_of(path) and provider_of(found) and provider_of(path) != provider_of(found):
        return "belongs to another provider"
    if allowed is None or mine == theirs or theirs in allowed:
        return None
    return f"{mine} may not include {theirs}"


def check_system(path, target):
    if path.startswith("tests/"):
        return None
    for pattern, only in WRAPPED:
        if re.match(pattern, target) and not re.match(only, path):
            return f"only {only.replace(chr(92), '')} may include it"
    return None


def includes(root, path):
    with open(os.path.join(root, path), "rb") as f:
        data = f.read().replace(b"\\\n", b"  ")
    for m in INCLUDE.finditer(data):
        line = data.count(b"\n", 0, m.start()) + 1
        yield line, TARGET.match(m.group(1).decode("utf-8", "replace")), m.group(1)


def find_cycle(graph):
    """A list of headers that include each other in a circle, or None."""
    done, stack = set(), []

    def visit(node):
        if node in stack:
            return stack[stack.index(node):] + [node]
        if node in done:
            return None
        stack.append(node)
        for below in graph.get(node, ()):
            cycle = visit(below)
            if cycle:
                return cycle
        stack.pop()
        done.add(node)
        return None

    return next(filter(None, map(visit, sorted(graph))), None)


def check(root):
    problems, graph, files = [], {}, sorted(sources(root))
    for path in files:
        if box_of(path) is None:
            problems.append(f"{path}: lies in no box of the diagram")
            continue
        for line, m, raw in includes(root, path):
            if not m:
                problems.append(f"{path}:{line}: {raw.decode('utf-8', 'replace')}: not a plain name")
                continue
            own, system = m.groups()
            why = check_own(root, path, own) if own else check_system(path, system)
            # A header of ours in <> is still ours.
            if system and not why and resolve(root, "", system):
                why = "is ours: use quotes"
            if why:
                problems.append(f"{path}:{line}: {own or system}: {why}")
            elif own and own not in GENERATED:
                graph.setdefault(path, []).append(resolve(root, path, own))
    cycle = find_cycle(graph)
    if cycle:
        problems.append("headers include each other: " + " -> ".join(cycle))
    return problems, len(files)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    problems, n = check(os.path.abspath(root))
    print("\n".join(problems) or f"{n} files keep to their layers")
    if n == 0:
        print("no files: wrong directory?")
    sys.exit(1 if problems or n == 0 else 0)


if __name__ == "__main__":
    main()
