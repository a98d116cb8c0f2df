#!/usr/bin/env python3
"""Ask transformers for the factors of its learning rate schedules: the numbers of tests/unit/test_schedule.c.

    python3 tests/peers/schedules.py > testdata/golden/transformers/schedules.tsv

One line a case, fields separated by tabs: name, peak, warm-up steps, total steps, lr_scheduler_kwargs
as KEY=VALUE separated by blanks (may be empty), then the factors of the steps from 0 to beyond the end, in
full precision.
"""
import torch
import transformers

# (name, peak, warm-up, total, kwargs)
CASES = [
    ("linear", 1e-4, 3, 10, {}), ("linear", 1e-4, 0, 4, {}), ("linear", 1e-4, 12, 10, {}),
    ("cosine", 1e-4, 3, 10, {}), ("cosine", 1e-4, 0, 4, {}), ("cosine", 1e-4, 2, 11, {"num_cycles": 1.25}),
    ("cosine_with_min_lr", 1e-4, 3, 10, {"min_lr": 1e-5}), ("cosine_with_min_lr", 5e-6, 0, 9, {"min_lr_rate": 0.25}),
    ("cosine_with_min_lr", 1e-4, 2, 9, {"min_lr_rate": 0.1, "num_cycles": 1.0}),
    ("cosine_with_restarts", 1e-4, 2, 12, {}), ("cosine_with_restarts", 1e-4, 1, 12, {"num_cycles": 3}),
    ("constant", 1e-4, 0, 4, {}), ("constant_with_warmup", 1e-4, 3, 6, {}),
    ("polynomial", 1e-4, 3, 10, {}), ("polynomial", 1e-4, 0, 7, {"lr_end": 1e-5, "power": 2.0}),
    ("polynomial", 2e-6, 2, 8, {"power": 0.5}),
    ("inverse_sqrt", 1e-4, 3, 10, {}), ("inverse_sqrt", 1e-4, 0, 6, {}),
    ("inverse_sqrt", 1e-4, 2, 8, {"timescale": 5}),
    ("warmup_stable_decay", 1e-4, 3, 12, {"num_decay_steps": 5}),
    ("warmup_stable_decay", 1e-4, 2, 12, {"num_decay_steps": 6, "decay_type": "linear", "min_lr_ratio": 0.125}),
    ("warmup_stable_decay", 1e-4, 4, 12, {"num_decay_steps": 4, "decay_type": "1-sqrt", "min_lr_ratio": 0.01}),
    ("warmup_stable_decay", 1e-4, 2, 12, {"num_decay_steps": 8, "decay_type": "cosine", "num_cycles": 1.5}),
]


def factors(name, peak, warmup, total, kwargs):
    """The factor of every step from 0 to two beyond the last, straight from the function LambdaLR calls."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = transformers.get_scheduler(name, optimizer, warmup, total, scheduler_specific_kwargs=kwargs)
    return [float(scheduler.lr_lambdas[0](step)) for step in range(total + 2)]


def main():
    for name, peak, warmup, total, kwargs in CASES:
        settings = " ".join(f"{key}={value}" for key, value in kwargs.items())
        print(name, peak, warmup, total, settings, *map(repr, factors(name, peak, warmup, total, kwargs)), sep="\t")


if __name__ == "__main__":
    main()
