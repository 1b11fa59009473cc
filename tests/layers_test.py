#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The layer test itself: each rule is broken once and must be seen."""
import os
import tempfile
import unittest

import layers

CLEAN = {
    "src/common/util.h": "",
    "src/common/util.c": '#include "common/util.h"\n#include <uuid.h>\n',
    "src/coordinator/client.h": '#include "snapshot/provider.h"\n',
    "src/coordinator/plan.h": "",
    "src/cli/main.c": '#include "cli/commands.inc"\n#include "coordinator/client.h"\n',
    "src/cli/cmd_list.c": '#include "snapshot/snapshot.h"\n',
    "snapshot/set.h": '#include "common/util.h"\n',
    "snapshot/provider.h": '#include "snapshot/set.h"\n',
    "snapshot/document.h": '#include "snapshot/set.h"\n',
    "snapshot/snapshot.h": '#include "snapshot/document.h"\n',
    "snapshot/catalog_db.h": "#include <sqlite3.h>\n",
    "snapshot/sys/tree.h": "",
    "snapshot/sys/tree.c": "#include <linux/btrfs.h>\n#include <sys/mount.h>\n",
    "snapshot/provider/copy/walk.c": '#include "snapshot/provider/copy/walk.h"\n',
    "snapshot/provider/copy/walk.h": '#include "snapshot/provider.h"\n',
    "snapshot/provider/btrfs.c": '#include "snapshot/sys/tree.h"\n',
    "snapshot/provider/dm/pool/pool.h": "",
    "snapshot/provider/dm/device/wall.h": '#include "snapshot/provider/dm/pool/pool.h"\n',
    "snapshot/provider/dm/volume/fate.h": '#include "snapshot/provider/dm/device/wall.h"\n',
    "snapshot/provider/dm/create.c": '#include "snapshot/provider/dm/volume/fate.h"\n',
    "fuse/ops.c": '#include "snapshot/snapshot.h"\n#include <fuse_lowlevel.h>\n',
    "tests/unit/test.c": '#include "snapshot/document.h"\n#include <criterion/criterion.h>\n',
}

BROKEN = [
    ("src/common/util.c", '#include "snapshot/set.h"', "common may not include"),
    ("snapshot/sys/tree.c", '#include "snapshot/set.h"', "sys may not include"),
    ("snapshot/catalog.c", '#include "coordinator/client.h"', "snapshot may not include"),
    ("snapshot/catalog.c", '#include "snapshot/provider/copy/walk.h"', "may not include provider"),
    ("snapshot/provider/btrfs.c", '#include "snapshot/document.h"', "may not include snapshot"),
    ("snapshot/provider/btrfs.c", '#include "snapshot/provider/copy/walk.h"', "another provider"),
    ("snapshot/provider/dm/create.c", '#include "snapshot/provider/copy/walk.h"', "another provider"),
    ("snapshot/provider/dm/pool/pool.h", '#include "snapshot/sys/tree.h"', "may not include sys"),
    ("snapshot/provider/dm/device/wall.c", '#include "snapshot/provider/dm/volume/fate.h"',
     "dm device may not include dm volume"),
    ("snapshot/provider/btrfs.c", "#include <linux/btrfs.h>", "only snapshot/sys/"),
    ("snapshot/provider/btrfs.c", "#include <sys/mount.h>", "only snapshot/sys/"),
    ("snapshot/provider/btrfs.c", "  #  include <libdevmapper.h>", "only snapshot/sys/"),
    ("src/cli/main.c", '#include "coordinator/plan.h"', "cli may not include coordinator"),
    ("src/cli/main.c", "#include <fuse3/fuse.h>", "only fuse/"),
    ("src/cli/main.c", "#include <sqlite3.h>", "only snapshot/catalog_db.h"),
    ("src/cli/cmd_list.c", '#include "cli/commands.inc"', "src/cli/main.c alone"),
    ("fuse/ops.c", '#include "snapshot/document.h"', "fuse may not include snapshot"),
    ("fuse/ops.c", '#include "coordinator/client.h"', "fuse may not include"),
    ("fuse/ops.c", "#include <snapshot/snapshot.h>", "use quotes"),
    ("fuse/ops.c", '#include "stdio.h"', "not a file of ours"),
    ("fuse/ops.c", "#include HEADER", "not a plain name"),
    ("fuse/ops.c", '#include \\\n"coordinator/client.h"', "fuse may not include"),
    ("src/common/util.h", '#include "common/../common/util.h"', "each other"),
    ("src/other/x.c", "", "in no box"),
]


def build(files):
    root = tempfile.TemporaryDirectory()
    for path, text in files.items():
        path = os.path.join(root.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    return root


class Layers(unittest.TestCase):
    def problems(self, files):
        with build(files) as root:
            return layers.check(root)[0]

    def test_clean(self):
        self.assertEqual(self.problems(CLEAN), [])

    def test_broken(self):
        for path, line, want in BROKEN:
            with self.subTest(path=path, line=line):
                problems = self.problems({**CLEAN, path: CLEAN.get(path, "") + line + "\n"})
                self.assertEqual(len(problems), 1, problems)
                self.assertIn(path, problems[0])
                self.assertIn(want, problems[0])

    def test_order(self):
        above = set()
        for name, _, allowed in layers.BOXES:
            for other in allowed or []:
                self.assertIn(other, above)
            above.add(name)


if __name__ == "__main__":
    unittest.main()
