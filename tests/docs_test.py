#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Breaks the manual in every way that docs.py must see.

docs_test.py ROOT UMBRA [MOUNT.UMBRA]
"""
import os
import shutil
import sys
import tempfile

import docs

# A file, what is replaced in it, by what, and what must then be said.
BREAKS = [
    ("man/umbra.1.scd", "*-p*, *--provider* _NAME_", "text", "--provider is missing"),
    ("man/umbra.1.scd", "*-p*, *--provider* _NAME_", "*-P*, *--provider* _NAME_", "not ('P'"),
    ("man/umbra.1.scd", "*--rebuild*\n", "*--rebuilt*\n", "no option --rebuilt"),
    ("man/umbra.1.scd", "## umbra list [PATH]", "## umbra list", "is used as"),
    ("man/umbra.1.scd", "## umbra volumes", "## umbra volume", "command 'volumes' is missing"),
    ("man/umbra.1.scd", "## umbra volumes", "## umbra volume", "no command 'volume'"),
    ("man/umbra.1.scd", "*UMBRA_DEBUG*", "text", "looks at $UMBRA_DEBUG"),
    ("man/umbra-catalog.5.scd", "check --rebuild*", "check --repair*", "umbra check --repair"),
    ("man/umbra-catalog.5.scd", "seq INTEGER", "seq TEXT", "differs from the schema"),
    ("man/umbra-catalog.5.scd", "umbra-design*(7)", "umbra-designs*(7)", "umbra-designs(7)"),
    ("man/umbra-protocol.7.scd", "*busy*", "text", "'busy' is missing"),
    ("man/umbra-shadow.json.5.scd", "*unreadable*", "text", "'unreadable' is missing"),
    ("man/mount.umbra.8.scd", "*nofail*", "text", "'nofail' is missing"),
    ("man/mount.umbra.8.scd", "*noothers*\n", "*noother*\n", "no mount option 'noother'"),
    ("man/umbra-copy-store.5.scd", "*linked*", "*joined*", "'linked' is missing"),
    ("man/umbra-copy-store.5.scd", "\n# RECORD\n", "\n# RECORDS\n", "section RECORD is missing"),
    ("man/umbra.1.scd", "\n# COMMANDS\n", "\n", "section COMMANDS is missing"),
    ("snapshot/provider/meson.build", "'copy',", "'copy', 'tape',", "page of provider tape is missing"),
    ("man/meson.build", "'umbra.1'", "", "list of pages"),
    ("README.md", "umbra --help", "x` `umbra crate", "'umbra crate'"),
]


def copy(root, to):
    for name in ("man", "src", "snapshot", "fuse"):
        shutil.copytree(os.path.join(root, name), os.path.join(to, name))
    for name in ("README.md", "HACKING.md"):
        shutil.copy(os.path.join(root, name), to)


def check_without(to, path, programs):
    """A page that is missing is a sentence, not a traceback."""
    path = os.path.join(to, path)
    os.rename(path, path + ".away")
    problems, _ = docs.check(to, *programs)
    os.rename(path + ".away", path)
    if not any("missing" in p and os.path.basename(path) in p for p in problems):
        print(f"{path} was not missed: {problems}")
        return 1
    return 0


def main():
    root, *programs = sys.argv[1:]
    bad = 0
    with tempfile.TemporaryDirectory() as to:
        copy(root, to)
        for path, old, new, expected in BREAKS:
            path = os.path.join(to, path)
            with open(path, encoding="utf-8") as f:
                text = f.read()
            assert old in text, f"{path} has no {old!r}"
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(old, new))
            problems, _ = docs.check(to, *programs)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            if expected and not any(expected in p for p in problems):
                print(f"{path}: {old!r} -> {new!r} was not seen: {problems}")
                bad += 1
        bad += sum(check_without(to, path, programs) for path in docs.Docs(root, None).wanted())
        problems, _ = docs.check(to, *programs)
        if problems:
            print("\n".join(["unbroken:"] + problems))
            bad += 1
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
