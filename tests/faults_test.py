#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests/faults.py takes for a suite that breaks a point."""
import unittest

import faults


class Broken(unittest.TestCase):
    def test_names(self):
        names, prefixes = faults.broken('survive("create.held:kill:2,guard.fired:stop");')
        self.assertEqual(names, {"create.held", "guard.fired"})
        self.assertEqual(prefixes, set())

    def test_prefixes(self):
        self.assertEqual(faults.broken('n = fault_points("delete.", points, 40);')[1], {"delete."})
        self.assertEqual(faults.broken("for p in $(fault_points dm.revert revert.begun); do")[1],
                         {"dm.revert", "revert.begun"})

    def test_a_longer_name_is_another(self):
        self.assertNotIn("dm.compact", faults.broken('"dm.compact-copied:kill"')[0])


if __name__ == "__main__":
    unittest.main()
