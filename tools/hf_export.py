#!/usr/bin/env python3
"""Converts a Hugging Face copy of a benchmark to the JSON lines that `lethe score --data` reads.

    python3 tools/hf_export.py IN OUT.jsonl [--split NAME]

IN is a .parquet file, a folder with parquet files (a downloaded snapshot), or a folder that `datasets` wrote with
save_to_disk. With --split only files and folders named after that split are taken. Needs pyarrow, or pandas for parquet.
"""

import argparse
import json
import os
import pathlib
import sys


def named_after(path, root, split):
    parts = path.relative_to(root).parts if path != root else (path.name,)
    return any(part == split or part.startswith((split + "-", split + ".")) for part in parts)


def find_files(source, split):
    if source.is_file():
        return [source]
    files = sorted(p for ending in ("*.parquet", "*.arrow") for p in source.rglob(ending))
    if split:
        files = [p for p in files if named_after(p, source, split)]
    # A data set's own caches lie beside its rows.
    files = [p for p in files if not p.name.startswith("cache-")]
    folders = sorted({str(p.parent) for p in files})
    if len(folders) > 1:
        # Configurations of one benchmark (winogrande_s, winogrande_xl) hold the same rows: together they are no data set.
        sys.exit(f"{source}: rows in several folders, name one: " + ", ".join(folders))
    return files


def read_rows(path):
    if path.suffix == ".arrow":
        import pyarrow

        with pyarrow.memory_map(str(path)) as stream:
            yield from pyarrow.ipc.open_stream(stream).read_all().to_pylist()
        return
    try:
        import pyarrow.parquet
    except ImportError:
        import pandas

        # to_json knows how to turn nested columns into plain lists.
        yield from json.loads(pandas.read_parquet(path).to_json(orient="records", force_ascii=False))
        return
    yield from pyarrow.parquet.read_table(path).to_pylist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="IN")
    parser.add_argument("target", type=pathlib.Path, metavar="OUT.jsonl")
    parser.add_argument("--split")
    arguments = parser.parse_args()
    if not arguments.source.exists():
        sys.exit(f"{arguments.source}: no such file or folder")
    files = find_files(arguments.source, arguments.split)
    if not files:
        sys.exit(f"{arguments.source}: no .parquet or .arrow file" + (f" of split '{arguments.split}'" if arguments.split else ""))
    temporary = arguments.target.with_name(arguments.target.name + ".part")
    count = 0
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as out:
            for path in files:
                for row in read_rows(path):
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
    except ImportError as missing:
        temporary.unlink()
        sys.exit(f"{missing}: install pyarrow")
    os.replace(temporary, arguments.target)
    print(f"{arguments.target}: {count} rows from {len(files)} file(s)", file=sys.stderr)


if __name__ == "__main__":
    main()
