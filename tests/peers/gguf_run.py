#!/usr/bin/env python3
"""Greedy text of a model: from its GGUF file by llama.cpp (as the gpt4all package carries it), or by transformers.

    gguf_run.py engine FILE.gguf PROMPT
    gguf_run.py transformers MODEL PROMPT

The two print the same text where file and model are the same.
"""
import os
import pathlib
import sys

TOKENS = 60


def by_engine(path, prompt):
    from gpt4all import GPT4All
    path = pathlib.Path(path).resolve()
    model = GPT4All(path.name, model_path=str(path.parent), allow_download=False, device="cpu", n_ctx=128)
    return model.generate(prompt, temp=0, top_k=1, repeat_penalty=1.0, max_tokens=TOKENS)


def by_transformers(path, prompt):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(pathlib.Path(path) / "tokenizer.json"))
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    made = model.generate(ids, max_new_tokens=TOKENS, do_sample=False)
    text = [tokenizer.decode(each.tolist()) for each in (made[0], ids[0])]
    return text[0][len(text[1]):].split("<|endoftext|>")[0]


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("engine", "transformers"):
        sys.exit(__doc__)
    print((by_engine if sys.argv[1] == "engine" else by_transformers)(*sys.argv[2:]).strip())


if __name__ == "__main__":
    main()
