#!/usr/bin/env python3
"""TRL's first three steps for every loss, f-divergence, ld_alpha and WPO that it runs: testdata/golden/losses/trl.json.

    golden_losses.py STORY > trl.json         STORY is testdata/story

Twelve pairs of the story model in data order, four a step, learning rate 1e-4, fp32, one micro-batch a step. Each case
is kept with the arguments of dpo-train that make the same run; what TRL refuses, or dies of, is kept with its reason.
tests/golden_losses.py runs dpo-train on every case and compares.
"""
import contextlib
import io
import itertools
import json
import logging
import os
import pathlib
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false",
                  HF_DATASETS_CACHE=tempfile.mkdtemp(prefix="datasets-"))

import datasets
import torch
import transformers
import trl

ROWS = 12
DIVERGENCES = ["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]
WITH_DIVERGENCE = ["sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft"]
OTHERS = ["nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"]
SMOOTHED = {"robust": 0.1, "exo_pair": 0.001, "aot": 0.1, "aot_unpaired": 0.2}
KEPT = ("loss", "grad_norm", "rewards/", "logps/", "logits/", "entropy", "mean_token_accuracy")
SUMS = [  # several losses at once: MPO, RPO, and losses of different kinds
    (["sigmoid", "bco_pair", "sft"], {"loss_weights": [0.8, 0.2, 1.0]}),
    (["sigmoid", "sft"], {"f_divergence_type": "js_divergence"}),
    (["robust", "aot"], {"label_smoothing": 0.1, "loss_weights": [1.0, 0.5]}),
    (["ipo", "sft"], {"ld_alpha": 0.5}),
]


def cases():
    """(losses, settings of DPOConfig) of each case."""
    for loss in WITH_DIVERGENCE + OTHERS:
        divergences = DIVERGENCES if loss in WITH_DIVERGENCE else DIVERGENCES[:1]
        for divergence, ld_alpha, weighting in itertools.product(divergences, (None, 0.0, 0.5, 1.0), (False, True)):
            settings = {"label_smoothing": SMOOTHED[loss]} if loss in SMOOTHED else {}
            if divergence != "reverse_kl":
                settings["f_divergence_type"] = divergence
            if ld_alpha is not None:
                settings["ld_alpha"] = ld_alpha
            if weighting:
                settings["use_weighting"] = True
            yield [loss], settings
    yield ["sigmoid"], {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1.5}
    yield ["discopop"], {"discopop_tau": 0.5}
    yield from SUMS


def arguments(losses, settings):
    """The same as arguments of dpo-train."""
    result = ["--loss-type", ",".join(losses)]
    for key, value in settings.items():
        result.append("--" + key.replace("_", "-"))
        if value is not True:
            result.append(",".join(map(str, value)) if isinstance(value, list) else str(value))
    return result


def train(story, rows, losses, settings):
    """TRL's log of the run."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(story)
    model = transformers.AutoModelForCausalLM.from_pretrained(story, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        config = trl.DPOConfig(
            loss_type=losses, **settings, learning_rate=1e-4, num_train_epochs=1, per_device_train_batch_size=4,
            max_length=256, output_dir=scratch, bf16=False, use_cpu=True, gradient_checkpointing=False,
            logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
            train_sampling_strategy="sequential")
        trainer = trl.DPOTrainer(model=model, args=config, processing_class=tokenizer,
                                 train_dataset=datasets.Dataset.from_list(rows))
        trainer.train()
    return [{key: float(f"{value:.9g}") for key, value in entry.items() if key.startswith(KEPT)}
            for entry in trainer.state.log_history if "loss" in entry]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    story = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    with open(story / "train.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(ROWS))]
    rows = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]
    result = []
    for losses, settings in cases():
        case = {"arguments": arguments(losses, settings)}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                case["log"] = train(story, rows, losses, settings)
        except (ValueError, RuntimeError) as error:
            case["refused" if isinstance(error, ValueError) else "died"] = str(error).splitlines()[0][:120]
        print(*case["arguments"], "" if "log" in case else "no log", file=sys.stderr)
        result.append(case)
    lines = ",\n".join(json.dumps(case) for case in result)
    print(f'{{"versions": {{"torch": "{torch.__version__}", "trl": "{trl.__version__}"}}, "rows": {json.dumps([{}] * ROWS)},\n"cases": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
