#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the manual with the programs and the source, so that it cannot drift from them.

docs.py ROOT UMBRA [MOUNT.UMBRA]: prints each disagreement; status 1 when there is one.
"""
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^ +(?:-(\w), |    )--([a-z][a-z-]*)(?: ([A-Z]+))?  ")
ENTRY = re.compile(r"^(?:\*-(\w)\*, )?\*--([a-z][a-z-]*)\*(?: _([A-Z]+)_)?$")
PAGE = re.compile(r"\b((?:mount\.)?umbra(?:[-.][a-z]+)*)\*?\((\d)\)")
GETENV = re.compile(r'\b(?:secure_)?getenv\("(\w+)"\)')
RECORDED = re.compile(r'\b(?:umbra_doc_set_\w+|json_object_set\w*)\(\w*(?:->data)?,\s*"(\w+)"')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Docs:
    def __init__(self, root, umbra, mount=None):
        self.root, self.umbra, self.mount, self.problems = root, umbra, mount, []

    def problem(self, where, what):
        self.problems.append(f"{where}: {what}")

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def page(self, path):
        """Its text, "" when there is none: check_pages() tells that."""
        return self.read(path) if os.path.exists(os.path.join(self.root, path)) else ""

    def section(self, path, title):
        """What is below a heading; None when that, or the whole page, is missing."""
        text = self.page(path)
        m = re.search(rf"^# {title}\n(.*?)(?=^# |\Z)", text, re.M | re.S)
        if text and not m:
            self.problem(path, f"section {title} is missing")
        return m and m[1]

    def wanted(self):
        """The pages that there must be, and what they are of."""
        providers = self.words_of("snapshot/provider/meson.build", "providers")
        return {"man/umbra.1.scd": "src/cli", "man/mount.umbra.8.scd": "fuse",
                "man/umbra-catalog.5.scd": "snapshot/catalog.c",
                "man/umbra-protocol.7.scd": "src/common/error.c",
                "man/umbra-shadow.json.5.scd": "snapshot/document.c",
                **{f"man/umbra-{name}-store.5.scd": f"provider {name}" for name in providers}}

    def files(self, *folders, ends):
        for folder in folders:
            for where, _, names in sorted(os.walk(os.path.join(self.root, folder))):
                for name in sorted(names):
                    if name.endswith(ends):
                        yield os.path.relpath(os.path.join(where, name), self.root)

    def words_of(self, path, variable):
        """The list of words that a meson.build gives to a variable."""
        m = re.search(rf"^{variable} = \[(.*?)\]", self.read(path), re.M | re.S)
        return re.findall(r"'([^']+)'", m.group(1)) if m else []


def run(*words):
    return subprocess.run(words, check=True, timeout=30, stdout=subprocess.PIPE,
                          env=dict(os.environ, LC_ALL="C.UTF-8")).stdout.decode()


def options_of(text):
    """{name: (letter, argument)} of a --help."""
    return {m[2]: (m[1], m[3]) for m in map(OPTION.match, text.splitlines()) if m}


def ask(docs):
    """{command: (usage lines, options)} from the program itself."""
    commands = {}
    for name in re.findall(r"^  ([a-z]+) +\S", run(docs.umbra, "--help"), re.M):
        text = run(docs.umbra, name, "--help")
        words = re.match(rf"usage: umbra {name} \[OPTION…\]( .*)?\n", text)[1] or ""
        usages = [f"umbra {name} {w.strip()}".strip() for w in words.split(" | ")]
        commands[name] = (usages, options_of(text))
    return commands


def entries_of(text):
    return {m[2]: (m[1], m[3]) for m in map(ENTRY.match, text.splitlines()) if m}


def check_commands(docs, commands):
    page = "man/umbra.1.scd"
    body = docs.section(page, "COMMANDS")
    if body is None:
        return
    head, *parts = re.split(r"^## ", body, flags=re.M)
    common, described = entries_of(head), {}
    for part in parts:
        title, text = part.split("\n", 1)
        usages, entries = described.setdefault(title.split()[1], ([], {}))
        usages.append(title)
        entries.update(entries_of(text))
    for name in sorted(set(commands) | set(described)):
        if name not in described:
            docs.problem(page, f"command '{name}' is missing")
        elif name not in commands:
            docs.problem(page, f"there is no command '{name}'")
        else:
            compare(docs, page, name, commands[name], described[name], common)


def compare(docs, page, name, real, told, common):
    if real[0] != told[0]:
        docs.problem(page, f"'{name}' is used as {real[0]}, the page says {told[0]}")
    for option in sorted(set(real[1]) | set(told[1])):
        says = told[1].get(option) or common.get(option)
        if option not in real[1]:
            docs.problem(page, f"'{name}' has no option --{option}")
        elif says is None:
            docs.problem(page, f"'{name}': option --{option} is missing")
        elif says != real[1][option]:
            docs.problem(page, f"'{name}': --{option} is {real[1][option]}, not {says}")


def check_mount(docs):
    """Every option that mount.umbra takes, and every mount option."""
    page = "man/mount.umbra.8.scd"
    source, text = docs.read("fuse/options.c"), docs.page(page)
    options = docs.section(page, "MOUNT OPTIONS")
    if options is None:
        return
    lists = re.findall(r"^static const char \*const \w+\[\] = \{(.*?)\};", source, re.M | re.S)
    words = {w for body in lists for w in STRING.findall(body)}
    words |= set(re.findall(r'str(?:n)?cmp\(word, "([a-z_]+=?)"', source))
    for word in sorted(words):
        if not re.search(rf"\*{re.escape(word).replace('_', '.?_')}[*…]", text):
            docs.problem(page, f"mount option '{word}' is missing")
    for m in re.finditer(r"^\*([a-z_]+=?)\*", options, re.M):
        if m[1] not in words:
            docs.problem(page, f"there is no mount option '{m[1]}'")
    usage = run(docs.mount, "--help") if docs.mount else ""
    for option in re.findall(r"--([a-z]+)", usage):
        if f"*--{option}*" not in text:
            docs.problem(page, f"option --{option} is missing")


def mentions(text):
    """Command lines in running text and in examples: (command, the rest)."""
    for m in re.finditer(r"[*`]umbra ([a-z]+)\b([^*`]*)[*`]", text):
        yield m[1], m[2]
    for m in re.finditer(r"^\t*(?:[$#] |\d.*  )(?:\w+=\$\()?(?:sudo )?umbra ([a-z]+)\b(.*)$", text,
                         re.M):
        yield m[1], re.split(r"[|)]| -- ", m[2])[0]


def check_mentions(docs, commands):
    for path in [*docs.files("man", ends=".scd"), "README.md", "HACKING.md"]:
        text = docs.read(path).replace("*\n*", " ")
        for command, rest in mentions(text):
            if command not in commands:
                docs.problem(path, f"mentions 'umbra {command}', which does not exist")
                continue
            for option in re.findall(r"--([a-z][a-z-]*)", rest):
                if option not in commands[command][1]:
                    docs.problem(path, f"mentions 'umbra {command} --{option}', which does not exist")


def check_pages(docs):
    """What is referred to exists; what exists is installed; who must have a page has one."""
    there = {os.path.basename(p)[:-4] for p in docs.files("man", ends=".scd")}
    if there != set(docs.words_of("man/meson.build", "pages")):
        docs.problem("man/meson.build", "the list of pages is not that of the files")
    for path, of in docs.wanted().items():
        if not os.path.exists(os.path.join(docs.root, path)):
            docs.problem(path, f"the page of {of} is missing")
    for path in [*docs.files("man", ends=".scd"), "README.md", "HACKING.md",
                 *docs.files("src", "snapshot", "fuse", ends=(".c", ".h", ".build"))]:
        for name, section in PAGE.findall(docs.read(path)):
            if f"{name}.{section}" not in there:
                docs.problem(path, f"refers to {name}({section}), which does not exist")


def check_environment(docs):
    """Every variable that a program looks at; UMBRA_TEST_* are for tests alone."""
    told = "".join(docs.read(p) for p in docs.files("man", ends=(".1.scd", ".8.scd")))
    for path in docs.files("src", "snapshot", "fuse", ends=".c"):
        for name in GETENV.findall(docs.read(path)):
            if not name.startswith("UMBRA_TEST_") and not re.search(rf"\b{name}\b", told):
                docs.problem(path, f"looks at ${name}, which no page tells")


def check_formats(docs):
    """What pages repeat from the source."""
    literals = "".join(s for path in docs.files("snapshot", ends=".c") if "catalog" in path
                       for s in STRING.findall(docs.read(path)))
    page = re.sub(r"\s+", "", docs.page("man/umbra-catalog.5.scd"))
    for table in re.findall(r"CREATE TABLE (?:sets|shadows).*?;", literals):
        if re.sub(r"\s+", "", table) not in page:
            docs.problem("man/umbra-catalog.5.scd", f"differs from the schema: {table}")
    page = docs.page("man/umbra-protocol.7.scd")
    for code in re.findall(r'\[UMBRA_E_\w+\] = "([a-z-]+)"', docs.read("src/common/error.c")):
        if f"*{code}*" not in page:
            docs.problem("man/umbra-protocol.7.scd", f"error code '{code}' is missing")
    page = docs.page("man/umbra-shadow.json.5.scd")
    for kind in re.findall(r'^#define UMBRA_NOTE_\w+ +"([a-z]+)"', docs.read("snapshot/set.h"), re.M):
        if f"*{kind}*" not in page:
            docs.problem("man/umbra-shadow.json.5.scd", f"note '{kind}' is missing")


def check_records(docs):
    """The members that each provider puts into its record."""
    for name in docs.words_of("snapshot/provider/meson.build", "providers"):
        page = f"man/umbra-{name}-store.5.scd"
        text = docs.section(page, "RECORD")
        if text is None:
            continue
        source = "".join(docs.read(p) for p in docs.files("snapshot/provider", ends=".c")
                         if re.match(rf"snapshot/provider/{name}[/.]", p))
        real = set(RECORDED.findall(source))
        for member in sorted(real ^ set(re.findall(r"^(?:\[\[|\|) +\*(\w+)\*", text, re.M))):
            docs.problem(page, f"member '{member}' is {'missing' if member in real else 'no more'}")


def check(root, umbra, mount=None):
    docs = Docs(root, umbra, mount)
    commands = ask(docs)
    check_commands(docs, commands)
    check_mount(docs)
    check_mentions(docs, commands)
    check_pages(docs)
    check_environment(docs)
    check_formats(docs)
    check_records(docs)
    return docs.problems, len(commands)


def main():
    problems, n = check(*sys.argv[1:])
    print("\n".join(problems) or f"the manual tells what {n} commands do")
    if n == 0:
        print("no commands: wrong program?")
    sys.exit(1 if problems or n == 0 else 0)


if __name__ == "__main__":
    main()
