#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the commands of README.md's transcript and compares what they say with what it shows.

transcript.py [--write] README DIR: the transcript is the console block after the line
"<!-- transcript". DIR becomes the home directory of the person in it (/home/ann); umbra is found
in PATH. --write puts into README what really happened; for that DIR should be as long as
/home/ann, so that tables are in line.
"""
import os
import re
import subprocess
import sys

BLOCK = re.compile(r"(<!-- transcript.*?```console\n)(.*?)(\n```)", re.S)
HOME = "/home/ann"


def play(commands, home):
    """What a terminal would show."""
    shown = []
    script = "cd\n" + "".join(f"echo '\x01'; {{ {c}; }} 2>&1\n" for c in commands)
    state = os.path.join(home, ".local/state/umbra")
    env = {"HOME": home, "UMBRA_STATE": state, "PATH": os.environ["PATH"], "TZ": "UTC",
           "LC_ALL": "C.UTF-8", "PAGER": "cat"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "UMBRA_TEST_TAG"):
        if name in os.environ:
            env[name] = os.environ[name]
    done = subprocess.run(["bash", "-c", script], env=env, timeout=100, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=home)
    outputs = done.stdout.decode().split("\x01\n")[1:]
    for command, output in zip(commands, outputs):
        shown.append(f"$ {command}")
        shown += [line.rstrip() for line in output.rstrip("\n").split("\n")] * bool(output.strip())
    return "\n".join(shown).replace(home, HOME)


def same(text):
    """Without what differs from one run to the next."""
    text = re.sub(r"@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d", "@GMT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME", text)
    return [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]


def main():
    write = "--write" in sys.argv
    readme, home = [a for a in sys.argv[1:] if a != "--write"]
    home = os.path.realpath(home)
    with open(readme, encoding="utf-8") as f:
        text = f.read()
    told = BLOCK.search(text)[2]
    happened = play(re.findall(r"^\$ (.*)$", told, re.M), home)
    if write:
        with open(readme, "w", encoding="utf-8") as f:
            f.write(BLOCK.sub(lambda m: m[1] + happened + m[3], text, count=1))
        return 0
    if same(told) == same(happened):
        return 0
    print(f"{readme} does not show what happens:\n{happened}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
