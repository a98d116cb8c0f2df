#!/usr/bin/env python3
"""Train the rows of sft_case.py with TRL's SFTTrainer in fp32, in data order, logging every step.

    sft_run.py STORY DIR [--micro-batch N]

STORY is testdata/story: the model and the rows. Written into DIR: log.jsonl, model.safetensors and run.json,
of which golden.py makes what testdata/golden/trl keeps. --micro-batch splits a step, which moves TRL's loss
by rounding only: it divides by the completion tokens of the whole step, as dpo-train does.
"""
import argparse
import json
import os
import pathlib
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false",
                  HF_DATASETS_CACHE=tempfile.mkdtemp(prefix="datasets-"))

import datasets
import torch
import transformers
import trl

import sft_case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("story", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--micro-batch", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given.out.mkdir(parents=True, exist_ok=True)
    settings = dict(sft_case.SETTINGS)
    batch = settings["per_device_train_batch_size"]
    micro_batch = given.micro_batch or batch
    tokenizer = transformers.AutoTokenizer.from_pretrained(given.story)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    with tempfile.TemporaryDirectory() as scratch:
        config = trl.SFTConfig(
            **settings | {"per_device_train_batch_size": micro_batch, "gradient_accumulation_steps": batch // micro_batch},
            output_dir=scratch, bf16=False, use_cpu=True, gradient_checkpointing=False, logging_steps=1,
            save_strategy="no", report_to="none", disable_tqdm=True, train_sampling_strategy="sequential")
        trainer = trl.SFTTrainer(
            model=transformers.AutoModelForCausalLM.from_pretrained(given.story, dtype=torch.float32), args=config,
            processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(list(sft_case.rows(given.story))))
        trainer.train()
        log = [entry for entry in trainer.state.log_history if "loss" in entry]
        (given.out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
        trainer.model.save_pretrained(pathlib.Path(scratch) / "trained")
        (given.out / "model.safetensors").write_bytes(
            (pathlib.Path(scratch) / "trained" / "model.safetensors").read_bytes())
    versions = {module.__name__: module.__version__ for module in (torch, trl, transformers)}
    (given.out / "run.json").write_text(json.dumps(
        {"case": "sft", "versions": versions, "settings": settings, "micro_batch": given.micro_batch}, indent=1) + "\n")


if __name__ == "__main__":
    main()
