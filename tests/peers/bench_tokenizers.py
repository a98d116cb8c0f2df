#!/usr/bin/env python3
"""Speed of dpo-tok beside Hugging Face's tokenizers, on the same texts.

    bench_tokenizers.py ASSETS [SHAPE...] [--repeat N]

Texts are the answers of ASSETS/prefs/hh-harmless.jsonl, four times, and for comparison the generated ones of ../tokenizer_texts.py. One
thread: CPU seconds of the process, the least of N runs; ours are those of the whole program (start, JSON, tokens, stream, less the
start alone), theirs of encode_batch_fast on texts in memory. Threads: wall seconds with -j 1 and -j 2, which mean something on an
idle machine only. Start: wall seconds of dpo-tok on one row, least of N.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))
import tokenizer_shapes
import tokenizer_texts
import tokenizer_ids

TOK = pathlib.Path(os.environ.get("DPO_BIN", HERE.parent.parent / "bin")) / "dpo-tok"


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(folder, rows, threads):
    """CPU and wall seconds of one run."""
    cpu, wall = cpu_of_children(), time.perf_counter()
    subprocess.run([TOK, "-q", "-j", str(threads), "--max-length", "0", "-m", folder, rows], check=True,
                   stdout=subprocess.DEVNULL)
    return cpu_of_children() - cpu, time.perf_counter() - wall


def theirs(tokenizer, texts):
    cpu = time.process_time()
    for at in range(0, len(texts), 1000):
        tokenizer.encode_batch_fast(texts[at:at + 1000])
    return time.process_time() - cpu


def write_rows(path, texts):
    path.write_text("".join(json.dumps({"prompt": "", "completion": text}) + "\n" for text in texts))
    return path


def report(assets, shape, folder, corpora, repeat):
    tokenizer_shapes.write(assets, shape, folder)
    same = tokenizer_ids.SAME_AS.get(shape, shape)
    tokenizer_shapes.write(assets, same, folder / "json")
    tokenizer = Tokenizer.from_file(str(folder / "json" / "tokenizer.json"))
    one = write_rows(folder / "one.jsonl", ["a"])
    start = [min(times) for times in zip(*(ours(folder, one, 1) for _ in range(repeat)))]
    for name, texts in corpora.items():
        rows = write_rows(folder / "rows.jsonl", texts)
        size = sum(len(text.encode()) for text in texts) / 1e6
        cpu, wall = (min(times) for times in zip(*(ours(folder, rows, 1) for _ in range(repeat))))
        _, two = (min(times) for times in zip(*(ours(folder, rows, 2) for _ in range(repeat))))
        other = min(theirs(tokenizer, texts) for _ in range(repeat))
        mine = cpu - start[0]
        print(f"{shape:12} {name:9} {size:5.1f} MB  ours {size / mine:5.1f} MB/s  theirs {size / other:5.1f} MB/s  "
              f"ratio {other / mine:4.1f}  -j 2 in {two / wall:4.2f} of -j 1  start {start[1]:5.3f} s ({start[0]:5.3f} CPU)",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=pathlib.Path)
    parser.add_argument("shapes", nargs="*")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_intermixed_args()
    with open(given.assets / "prefs/hh-harmless.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    corpora = {"dialogues": [row[key] for row in rows for key in ("chosen", "rejected")] * 4,
               "generated": tokenizer_texts.texts(10000)}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shapes or ("gpt2", "qwen2", "llama3", "llama", "gemma", "starcoder", "deepseek"):
            report(given.assets, shape, pathlib.Path(scratch) / shape, corpora, given.repeat)


if __name__ == "__main__":
    main()
