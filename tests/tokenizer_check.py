#!/usr/bin/env python3
"""dpo-tok's ids of generated texts against digests of Hugging Face's and SentencePiece's.

    tokenizer_check.py GOLDEN [--assets DIR] [NAME...]

GOLDEN is a file of testdata/golden/tokenizers (made by peers/tokenizer_ids.py): how many of the texts of tokenizer_texts.py, and
their digests, by name; the names are with --assets those of tokenizer_shapes.py, else those of tokenizer_parts.py. $DPO_BIN
holds the programs. Needs no package.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import ids_digest
import tokenizer_parts
import tokenizer_shapes
import tokenizer_texts

ROOT = pathlib.Path(__file__).resolve().parent.parent


def write(assets, name, folder):
    """The tokenizer's directory."""
    if assets:
        tokenizer_shapes.write(assets, name, folder)
    else:
        tokenizer_parts.write(name, folder)


def ours(folder, count, *options):
    """dpo-tok's ids of each text."""
    tools = pathlib.Path(os.environ.get("DPO_BIN", ROOT / "bin"))
    rows = "".join(line + "\n" for line in tokenizer_texts.rows(count)).encode()
    run = subprocess.run([tools / "dpo-tok", "-q", "--max-length", "0", *options, "-m", folder], input=rows,
                         stdout=subprocess.PIPE)
    if run.returncode:
        sys.exit(f"{folder.name}: dpo-tok: exit status {run.returncode}")
    text = subprocess.run([tools / "dpo-cat"], input=run.stdout, check=True, stdout=subprocess.PIPE).stdout
    for line in text.splitlines()[1:-1]:
        row = json.loads(line)
        yield ids_digest.numbers(row["prompt"]) + ids_digest.numbers(row["chosen"])


def digest(lists):
    return ids_digest.make(json.dumps({"prompt": [], "chosen": ids}) for ids in lists)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--assets")
    given = parser.parse_intermixed_args()
    golden, wrong = json.loads(pathlib.Path(given.golden).read_text()), 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.names or golden:
            wanted, folder = golden[name], pathlib.Path(scratch) / name
            write(given.assets, name, folder)
            differences = list(ids_digest.differences(digest(ours(folder, wanted["rows"])), wanted))
            wrong += len(differences)
            print("\n".join(f"{name}: {text}" for text in differences or [f"{wanted['rows']} texts, same ids"]), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
