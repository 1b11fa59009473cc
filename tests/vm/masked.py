#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""masked.py AREA.json DEVICE…: the SHA-1 of each device, the diff area's own blocks left out.

AREA.json is the record of the diff area, STATE/dm/AREA.json.
"""
import hashlib
import json
import sys

PIECE = 1 << 20


def digest(path, holes):
    sha = hashlib.sha1()
    at = 0
    with open(path, "rb", buffering=0) as device:
        while data := bytearray(device.read(PIECE)):
            for start, end in holes:
                low, high = max(start, at), min(end, at + len(data))
                if low < high:
                    data[low - at:high - at] = bytes(high - low)
            sha.update(data)
            at += len(data)
    return sha.hexdigest()


def main():
    with open(sys.argv[1], encoding="utf-8") as record:
        extents = json.load(record)["area"]["extents"]
    holes = [(physical, physical + length) for _, physical, length in extents]
    for path in sys.argv[2:]:
        print(digest(path, holes))


main()
