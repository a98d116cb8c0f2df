#!/usr/bin/env python3
"""Ask transformers when it stops early and which evaluation it takes for the best: the numbers of tests/unit/test_best.c.

    python3 tests/peers/early_stopping.py > testdata/golden/transformers/early_stopping.tsv

Each line runs a list of metrics through EarlyStoppingCallback.on_evaluate and then
Trainer._determine_best_metric, in the order in which the Trainer calls them. Fields separated by tabs: 1 if
greater is better, patience, threshold, the metrics separated by blanks, how many evaluations there
were until the stop (all of them if none), the best one's number (from 1), and the patience counter.
"""
import random
import types

import transformers
from transformers.trainer_callback import EarlyStoppingCallback, TrainerControl, TrainerState


def run(greater, patience, threshold, metrics):
    args = types.SimpleNamespace(metric_for_best_model="eval_m", greater_is_better=greater, save_strategy="steps")
    trainer = types.SimpleNamespace(args=args, state=TrainerState())
    callback, control = EarlyStoppingCallback(patience, threshold), TrainerControl()
    for number, value in enumerate(metrics, 1):
        trainer.state.global_step = number
        callback.on_evaluate(args, trainer.state, control, {"eval_m": value})
        transformers.Trainer._determine_best_metric(trainer, {"eval_m": value}, None)
        if control.should_training_stop:
            break
    return number, trainer.state.best_global_step, callback.early_stopping_patience_counter


def main():
    draw = random.Random(1)
    for greater in (False, True):
        for patience in (1, 2, 3):
            for threshold in (0.0, 0.125, 0.5):
                for _ in range(4):
                    # Multiples of 1/8, so that differences are exact and often equal the threshold.
                    metrics = [draw.randrange(0, 16) / 8 for _ in range(8)]
                    print(int(greater), patience, threshold, " ".join(map(str, metrics)),
                          *run(greater, patience, threshold, metrics), sep="\t")


if __name__ == "__main__":
    main()
