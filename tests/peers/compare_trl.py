#!/usr/bin/env python3
"""Compare a training run with what TRL did.

    compare_trl.py CASE.json LOG.jsonl [--weights OURS.safetensors [--full TRL.safetensors]]

CASE.json is a file of testdata/golden/trl, LOG.jsonl the log of dpo-train on the same case. Prints
the largest deviation of every metric beside its tolerance. --weights compares the trained tensors with the
samples and norms of CASE.json; --full with all of TRL's elements as well. Exits 1 when a tolerance
is exceeded or a step, a metric or a tensor is missing or too many. Needs no package.
"""
import argparse
import json
import math
import sys

import tensors

# (how a metric's name begins, tolerance, whether it is relative); the first that fits counts
TOLERANCES = [
    ("loss", 1e-5, False), ("grad_norm", 2e-4, True), ("learning_rate", 1e-6, True),
    ("rewards/", 5e-5, False), ("logps/", 5e-4, False), ("logits/", 1e-4, False),
    ("entropy", 1e-4, False), ("mean_token_accuracy", 1e-4, False),
    ("epoch", 1e-6, False), ("num_tokens", 0, False), ("step", 0, False),
]
WEIGHTS = 1e-5
UNCOMPARED = {"eval_num_tokens"}    # TRL's count of training tokens, once more
ADAPTER = 2e-5


def weights_tolerance(name):
    """An adapter's first gradients are tiny, and AdamW divides by their size."""
    return ADAPTER if name.startswith("base_model.") else WEIGHTS


def tolerance(metric):
    """(tolerance, relative) of a metric."""
    for start, allowed, relative in TOLERANCES:
        if metric.removeprefix("eval_").startswith(start):
            return allowed, relative
    raise SystemExit(f"no tolerance is known for the metric {metric}")


def deviation(ours, theirs, relative):
    """How far ours is from theirs; infinite if either is no finite number."""
    if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in (ours, theirs)):
        return math.inf
    away = abs(ours - theirs)
    return away / abs(theirs) if relative and theirs else away


class Verdict:
    """The largest deviation seen of each thing compared, and everything that was wrong."""

    def __init__(self):
        self.worst = {}
        self.faults = []

    def see(self, what, away, allowed, place, note=""):
        if what not in self.worst or away > self.worst[what][0]:
            self.worst[what] = (away, allowed, place, note)

    def report(self):
        """Print everything; True if all is well."""
        well = not self.faults
        for what, (away, allowed, place, note) in self.worst.items():
            held = away <= allowed
            well = well and held
            print(f"{'ok  ' if held else 'FAIL'} {what:<22} {away:10.3g}  of {allowed:.0e}{note}  at {place}")
        for fault in self.faults:
            print("FAIL", fault)
        return well


def place(entry):
    """What a line of a log is about."""
    return f"evaluation after step {entry.get('step')}" if "eval_loss" in entry else f"step {entry.get('step')}"


def compare_logs(verdict, ours, theirs):
    """Every metric of every line of TRL's log, steps and evaluations; our log has other lines as well."""
    lines = {}
    for entry in ours:
        if "loss" not in entry and "eval_loss" not in entry:
            continue
        if place(entry) in lines:
            verdict.faults.append(f"{place(entry)} is logged twice")
        lines[place(entry)] = entry
    for entry in theirs:
        found = lines.pop(place(entry), None)
        if found is None:
            verdict.faults.append(f"{place(entry)} is missing")
            continue
        for metric, value in entry.items():
            if metric in UNCOMPARED:
                continue
            if metric not in found:
                verdict.faults.append(f"{place(entry)}: {metric} is missing")
                continue
            allowed, relative = tolerance(metric)
            verdict.see(metric, deviation(found[metric], value, relative), allowed,
                        place(entry), " relative" if relative else "")
    for line in lines:
        verdict.faults.append(f"{line} is too many")


def compare_samples(verdict, ours, kept):
    """The sampled elements and the norm of each tensor. Elements within a tolerance of one another
    leave the norms of n of them within that tolerance times sqrt(n)."""
    kept = dict(kept)
    for name, shape, values in tensors.read(ours):
        entry = kept.pop(name, None)
        if entry is None or entry["shape"] != shape:
            verdict.faults.append(f"tensor {name} {shape} is too many" if entry is None else
                                  f"tensor {name} has shape {shape}, not {entry['shape']}")
            continue
        span = entry.get("zero_gradient")
        for place, value in zip(tensors.sample_places(len(values), span), entry["sample"], strict=True):
            verdict.see("weights, sampled", deviation(values[place], value, False), weights_tolerance(name),
                        f"{name}[{place}]")
        away = deviation(tensors.norm(values, span), entry["norm"], False)
        verdict.see("weights, norm/sqrt(n)", away / math.sqrt(max(1, len(values))), weights_tolerance(name),
                    name)
    for name in kept:
        verdict.faults.append(f"tensor {name} is missing")


def compare_all(verdict, ours, theirs, kept):
    """Every element, less those with a gradient of zero; what these do is shown, not judged."""
    for (name, shape, a), (other, other_shape, b) in zip(tensors.read(ours), tensors.read(theirs)):
        if (name, shape) != (other, other_shape):
            verdict.faults.append(f"tensor {name} {shape} against {other} {other_shape}")
            return
        low, high = kept.get(name, {}).get("zero_gradient", (0, 0))
        for i, (x, y) in enumerate(zip(a, b)):
            if low <= i < high:
                verdict.see("zero gradient (shown)", abs(x - y), math.inf, f"{name}[{i}]")
            else:
                verdict.see("weights, all", deviation(x, y, False), weights_tolerance(name), f"{name}[{i}]")


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("log")
    parser.add_argument("--weights")
    parser.add_argument("--full")
    given = parser.parse_args()
    with open(given.case, encoding="utf-8") as file:
        case = json.load(file)
    verdict = Verdict()
    compare_logs(verdict, read_lines(given.log), case["log"])
    if given.weights:
        compare_samples(verdict, given.weights, case["weights"])
    if given.full:
        if not given.weights:
            parser.error("--full needs --weights")
        compare_all(verdict, given.weights, given.full, case["weights"])
    sys.exit(0 if verdict.report() else 1)


if __name__ == "__main__":
    main()
