#!/usr/bin/env python3
"""Check dpo-gen against what transformers gave (testdata/golden/generate).

    golden_generate.py prompts GOLDEN.json                the prompts, for dpo-gen
    golden_generate.py option GOLDEN.json NAME            max_new_tokens or penalty
    golden_generate.py greedy GOLDEN.json WHICH < OUT     completions: greedy or penalized
    golden_generate.py distributions GOLDEN.json          their number
    golden_generate.py options GOLDEN.json N              dpo-gen's options for distribution N, from 0
    golden_generate.py frequencies GOLDEN.json N < OUT    samples of one token of the first prompt

`greedy` wants every id, and the text where it is kept. `frequencies` makes Pearson's chi-square of the
counted tokens against the probabilities (tokens expected less than 5 times together in one cell) and
fails beyond 4 standard deviations, by Wilson and Hilferty's normal approximation (1931), or where a
token was drawn that has probability 0. Needs no package.
"""
import collections
import json
import math
import sys


def fail(text):
    sys.exit(f"FAIL {text}")


def greedy(golden, which):
    rows = [json.loads(line) for line in sys.stdin]
    if len(rows) != len(golden["prompts"]):
        fail(f"{len(rows)} completions for {len(golden['prompts'])} prompts")
    for row, entry in zip(rows, golden["prompts"]):
        if row["prompt_ids"] != entry["prompt_ids"]:
            fail(f"the prompt's ids are {row['prompt_ids']}, not {entry['prompt_ids']}")
        if row["completion_ids"] != entry[which]:
            fail(f"prompt {entry['prompt_ids']}: {row['completion_ids']}\ninstead of {entry[which]}")
        if which == "greedy" and "text" in entry and row["completion"] != entry["text"]:
            fail(f"the text is {row['completion']!r}, not {entry['text']!r}")
    print("ok", sum(len(row["completion_ids"]) for row in rows), "tokens")


def cells(counts, probabilities, n):
    """(counted, expected) of each cell."""
    rest = [0, 0.0]
    for token, probability in enumerate(probabilities):
        if probability * n >= 5:
            yield counts[token], probability * n
        else:
            rest[0] += counts[token]
            rest[1] += probability * n
    if rest[1] > 0:
        yield tuple(rest)


def frequencies(golden, number):
    probabilities = golden["distributions"][number]["probabilities"]
    counts = collections.Counter()
    for line in sys.stdin:
        counts[json.loads(line)["completion_ids"][0]] += 1
    n = sum(counts.values())
    for token, count in counts.items():
        if probabilities[token] == 0:
            fail(f"token {token} was drawn {count} times and has probability 0")
    pairs = list(cells(counts, probabilities, n))
    freedom = len(pairs) - 1
    square = sum((counted - expected) ** 2 / expected for counted, expected in pairs)
    away = ((square / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))
    print(f"{n} samples, chi-square {square:.1f} with {freedom} degrees of freedom, {away:+.2f} deviations")
    if n < 1000 or freedom < 2 or abs(away) > 4:
        fail("the samples do not follow the distribution")


def main():
    command, path, *rest = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    if command == "prompts":
        for entry in golden["prompts"]:
            print(json.dumps({"prompt": entry["prompt"]} if "prompt" in entry else {"prompt_ids": entry["prompt_ids"]}))
    elif command == "option":
        print(golden[rest[0]])
    elif command == "greedy":
        greedy(golden, rest[0])
    elif command == "distributions":
        print(len(golden["distributions"]))
    elif command == "options":
        print(*(f"--{key.replace('_', '-')} {value}" for key, value in golden["distributions"][int(rest[0])]["setting"].items()))
    elif command == "frequencies":
        frequencies(golden, int(rest[0]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main()
