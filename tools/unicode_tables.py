#!/usr/bin/env python3
"""Makes model/tokenizer_unicode.c from the classes of the reference's regex engine.

usage: unicode_tables.py unicode_classes.json > model/tokenizer_unicode.c

The input holds inclusive hexadecimal code point ranges under "L" and "N" (Unicode 16). PCRE2's own tables may be older, but
classes only ever grow: a pattern that names PCRE2's class and the ranges that came after Unicode 14 is exact and, as
matching a property is one table look-up, fast. This script writes those later ranges. Needs a Python
whose unicodedata is Unicode 14 (3.11).
"""
import json
import sys
import unicodedata

MAJOR_VERSION = "14."


def known(code, major):
    return unicodedata.category(chr(code))[0] == major


def later(ranges, major):
    out = []
    for first, last in ((int(a, 16), int(b, 16)) for a, b in ranges):
        for code in range(first, last + 1):
            if known(code, major):
                continue
            if out and out[-1][1] == code - 1:
                out[-1][1] = code
            else:
                out.append([code, code])
    return out


def write(name, ranges):
    print(f"\nconst UnicodeRange {name}[] = {{")
    cells = [f"{{0x{a:04X}, 0x{b:04X}}}," for a, b in ranges]
    for i in range(0, len(cells), 5):
        print("    " + " ".join(cells[i:i + 5]))
    print(f"}};\nconst size_t n_{name} = sizeof {name} / sizeof *{name};")


def main():
    if not unicodedata.unidata_version.startswith(MAJOR_VERSION):
        sys.exit(f"Unicode 14 needed, this Python has {unicodedata.unidata_version}")
    with open(sys.argv[1], encoding="ascii") as file:
        classes = json.load(file)
    print("/* Made by tools/unicode_tables.py: letters and numbers of Unicode 16 that Unicode 14 does not have. */")
    print('#include "model/tokenizer_private.h"')
    write("unicode_letters_new", later(classes["L"], "L"))
    write("unicode_numbers_new", later(classes["N"], "N"))


main()
