#!/usr/bin/env python3
"""Check the token ids of a pairs stream against digests made with Hugging Face's tokenizers.

    dpo-tok -m MODEL FILE | dpo-cat | ids_digest.py IDS.json NAME
    ids_digest.py --make < ROWS.jsonl

IDS.json is testdata/golden/trl/ids.json, NAME one of its entries. Needs no package. Of each pair
the line "prompt ids|chosen ids|rejected ids", ids in decimal with one space between them, ends in a
newline (of a supervised row "prompt ids|chosen ids"); the digest is BLAKE2b-256 over all lines, and one more over each 50 to say where a
difference lies. --make prints the entry of the rows on standard input.
"""
import base64
import hashlib
import json
import struct
import sys

GROUP = 50
COLUMNS = ("prompt", "chosen", "rejected")


def numbers(value):
    """The elements of one cell: a list, or the object that dpo-cat writes for a very long one."""
    if isinstance(value, dict):
        code = {"i32[]": "i", "f32[]": "f"}[value["type"]]
        data = base64.b64decode(value["base64"], validate=True)
        return list(struct.unpack(f"<{len(data) // 4}{code}", data))
    return value


def ids(cell):
    """The token ids of one cell as text."""
    found = numbers(cell)
    if not all(type(item) is int for item in found):
        raise ValueError("a token id is not an integer")
    return " ".join(map(str, found))


def lines(source):
    """The line of every pair of a JSON Lines text; its {"header"} and {"end"} lines have none."""
    for text in source:
        row = json.loads(text)
        if "prompt" in row:
            yield "|".join(ids(row[name]) for name in COLUMNS if name in row) + "\n"


def make(source):
    """The digests of a JSON Lines text."""
    whole, groups, rows = hashlib.blake2b(digest_size=32), [], 0
    for line in lines(source):
        if rows % GROUP == 0:
            groups.append(hashlib.blake2b(digest_size=32))
        rows += 1
        whole.update(line.encode())
        groups[-1].update(line.encode())
    return {"rows": rows, "digest": whole.hexdigest(), "groups": [g.hexdigest()[:16] for g in groups]}


def differences(found, wanted):
    """What is to be said where two digests differ."""
    if found["rows"] != wanted["rows"]:
        yield f"{found['rows']} rows, not {wanted['rows']}"
    for at, (one, other) in enumerate(zip(found["groups"], wanted["groups"])):
        if one != other:
            yield f"rows {at * GROUP} to {at * GROUP + GROUP - 1} (from 0) differ"
    if found["digest"] != wanted["digest"]:
        yield "the digest of all rows differs"


def main():
    if sys.argv[1:] == ["--make"]:
        print(json.dumps(make(sys.stdin)))
        return
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        wanted = json.load(file)[sys.argv[2]]
    wrong = list(differences(make(sys.stdin), wanted))
    for text in wrong:
        print(f"{sys.argv[2]}: {text}")
    if wrong:
        sys.exit(1)
    print(f"{sys.argv[2]}: {wanted['rows']} rows, same ids")


if __name__ == "__main__":
    main()
