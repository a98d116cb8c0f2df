#!/usr/bin/env python3
"""The losses and row options that TRL does not have, in a few lines of PyTorch each.

    golden_more_losses.py STORY       writes more-extra.json and more-labels.json, as testdata/golden/losses has them;
                                      STORY is testdata/story

As golden_losses.py: twelve pairs of the story model in data order, four a step, three steps of AdamW in fp32. Written
from the formulas of the papers, apart from libcore. Rows carry `extra` numbers, made here; "rows" keeps them.
tests/golden_losses.py runs dpo-train on every case and compares.
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
import transformers

ROWS, BATCH, RATE, BETA = 12, 4, 1e-4, 0.1
EXTRA = [{"margin": round(0.25 * (i % 4) + 0.1, 3), "kind": round(0.3 - 0.07 * i, 3), "brief": round(0.1 * (i % 3), 3)}
         for i in range(ROWS)]
LABELS = [{"label_prob": round(0.5 + 0.04 * i, 3), "weight": round(0.5 + 0.25 * (i % 4), 3)} for i in range(ROWS)]

ls = F.logsigmoid



def odds(mean):
    return mean - torch.log1p(-torch.exp(mean))


# name: (arguments of dpo-train after --loss-type, the loss of one pair, which extra numbers its rows have)
FORMS = {
    "cdpo": (["--label-smoothing", "0.2"], lambda x: -0.8 * ls(BETA * (x.c - x.r)) - 0.2 * ls(-BETA * (x.c - x.r)), EXTRA),
    "dpop": (["--dpop-lambda", "5"], lambda x: -ls(BETA * (x.c - x.r - 5 * F.relu(-x.c))), EXTRA),
    "ipo_sum": ([], lambda x: (x.c - x.r - 1 / (2 * BETA)) ** 2, EXTRA),
    "odpo": (["--odpo-alpha", "0.8"], lambda x: -ls(BETA * (x.c - x.r) - 0.8 * x.extra["margin"]), EXTRA),
    "simpo": (["--beta", "2", "--simpo-gamma", "0.5"], lambda x: -ls(2 * (x.lc / x.nc - x.lr / x.nr) - 0.5), EXTRA),
    "orpo": ([], lambda x: -x.lc / x.nc - BETA * ls(odds(x.lc / x.nc) - odds(x.lr / x.nr)), EXTRA),
    "modpo": (["--objective", "kind=0.3", "--objective", "brief=0.2"],
              lambda x: -ls((BETA * (x.c - x.r) - 0.3 * x.extra["kind"] - 0.2 * x.extra["brief"]) / 0.5), EXTRA),
    "sigmoid": (["--reference-free"], lambda x: -ls(BETA * (x.lc - x.lr)), EXTRA),
    "sigmoid ": ([], lambda x: x.extra["weight"] * (x.extra["label_prob"] * -ls(BETA * (x.c - x.r))
                                                   + (1 - x.extra["label_prob"]) * -ls(-BETA * (x.c - x.r))), LABELS),
    "hinge ": (["--use-weighting"], lambda x: x.w * F.relu(1 - BETA * (x.c - x.r)), EXTRA),  # TRL dies of it
    "hinge": (["--ld-alpha", "0.5"], lambda x: x.extra["weight"] * (
        x.extra["label_prob"] * F.relu(1 - BETA * (x.c - x.r))
        + (1 - x.extra["label_prob"]) * F.relu(1 + BETA * (x.c - x.r))), LABELS),
}


class Pair:
    """Log-probs of a pair: lc, lr; their ratios to the reference: c, r; numbers of tokens: nc, nr; WPO's factor: w."""

    def __init__(self, model, tokenizer, row, reference, ld_alpha):
        prompt = tokenizer(row["prompt"])["input_ids"]
        whole = [tokenizer(row["prompt"] + row[key] + tokenizer.eos_token)["input_ids"] for key in ("chosen", "rejected")]
        start = min([len(prompt)] + [next((i for i, (a, b) in enumerate(zip(prompt, ids)) if a != b), len(prompt))
                                     for ids in whole])
        self.squares = []
        per_token = [self.logps(model, ids, start) for ids in whole]
        shared = min(map(len, per_token))
        self.lc, self.lr = (t[:shared].sum() + ld_alpha * t[shared:].sum() for t in per_token)
        self.nc, self.nr = map(len, per_token)
        self.w = math.prod(float(torch.exp((t.detach() - s).mean())) for t, s in zip(per_token, self.squares))
        if reference is not None:
            self.c, self.r = self.lc - reference[0], self.lr - reference[1]

    def logps(self, model, ids, start):
        """Of each answer token; keeps the log of the sum of squared probabilities beside it."""
        ids = torch.tensor([ids])
        logps = torch.log_softmax(model(ids).logits[0, start - 1:-1], -1)
        self.squares.append(torch.logsumexp(2 * logps, -1).detach())
        return logps.gather(1, ids[0, start:, None])[:, 0]


def pairs(model, tokenizer, rows, references, ld_alpha):
    return [Pair(model, tokenizer, row, reference, ld_alpha) for row, reference in zip(rows, references)]


def metrics(xs, loss, norm, free, beta):
    """TRL's metrics of a step."""
    mean = lambda values: float(sum(values).detach()) / len(xs)
    c, r = ([x.lc for x in xs], [x.lr for x in xs]) if free else ([x.c for x in xs], [x.r for x in xs])
    return {"loss": float(loss), "grad_norm": float(norm), "rewards/chosen": beta * mean(c),
            "rewards/rejected": beta * mean(r),
            "rewards/margins": beta * (mean(c) - mean(r)), "logps/chosen": mean([x.lc for x in xs]),
            "logps/rejected": mean([x.lr for x in xs])}


def train(story, tokenizer, rows, arguments, form, extra):
    model = transformers.AutoModelForCausalLM.from_pretrained(story, dtype=torch.float32).eval()
    value = lambda option, default: float(arguments[arguments.index(option) + 1]) if option in arguments else default
    ld_alpha, beta, free = value("--ld-alpha", 1.0), value("--beta", BETA), "--reference-free" in arguments
    with torch.no_grad():
        references = [(x.lc, x.lr) for x in pairs(model, tokenizer, rows, [None] * len(rows), ld_alpha)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0)
    log, steps = [], math.ceil(len(rows) / BATCH)
    for step in range(steps):
        span = slice(step * BATCH, (step + 1) * BATCH)
        xs = pairs(model, tokenizer, rows[span], references[span], ld_alpha)
        for x, numbers in zip(xs, extra[span]):
            x.extra = numbers
        loss = sum(form(x) for x in xs) / len(xs)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = RATE * (steps - step) / steps
        optimizer.step()
        log.append({key: float(f"{number:.9g}") for key, number in metrics(xs, loss.detach(), norm, free, beta).items()})
    return log


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    story = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(story)
    with open(story / "train.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(ROWS))]
    cases = {"extra": [], "labels": []}
    for name, (arguments, form, extra) in FORMS.items():
        log = train(story, tokenizer, rows, arguments, form, extra)
        cases["labels" if extra is LABELS else "extra"].append(
            {"arguments": ["--loss-type", name.strip(), *arguments], "log": log})
    for kind, numbers in (("extra", EXTRA), ("labels", LABELS)):
        lines = ",\n".join(json.dumps(case) for case in cases[kind])
        (pathlib.Path(f"more-{kind}.json")).write_text(
            f'{{"versions": {{"torch": "{torch.__version__}"}},\n"rows": {json.dumps(numbers)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
