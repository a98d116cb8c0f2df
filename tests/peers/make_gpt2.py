#!/usr/bin/env python3
"""Write a small GPT-2 with random weights and the real GPT-2 tokenizer.

    make_gpt2.py TOKENIZER_DIR MODEL_DIR

Three layers of width 96 and four heads over the whole vocabulary of 50,257, tied head. The weights
come from SHAKE-128 of each tensor's name, so they are the same bytes on every machine and with
every version of everything, and no package is needed. They are larger than GPT-2's own
initialisation (and biases and norms are not 0 and 1), so that a wrong scale, mask or bias shows.
"""
import json
import pathlib
import shutil
import sys

from make_random import draw, gpt2_plan
from tensors import write

LAYERS, WIDTH, HEADS, VOCAB, POSITIONS = 3, 96, 4, 50257, 1024
END = "<|endoftext|>"
DEVIATION = {"embedding": 0.05, "position": 0.02, "matrix": 0.08, "gain": 0.1, "bias": 0.05}

CONFIG = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05,
    "n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "n_inner": None,
    "n_ctx": POSITIONS, "n_positions": POSITIONS, "vocab_size": VOCAB,
    "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
    "bos_token_id": 50256, "eos_token_id": 50256, "initializer_range": 0.02,
    "scale_attn_weights": True, "tie_word_embeddings": True, "torch_dtype": "float32",
}
TOKENIZER_CONFIG = {
    "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "add_bos_token": False,
    "bos_token": END, "eos_token": END, "unk_token": END, "model_max_length": POSITIONS,
}


def make(tokenizer, out):
    """Write the model directory `out` with the tokenizer files of the directory `tokenizer`."""
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    write(out / "model.safetensors", list(draw(gpt2_plan(CONFIG), DEVIATION)))
    for name, content in (("config.json", CONFIG), ("tokenizer_config.json", TOKENIZER_CONFIG)):
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        shutil.copyfile(pathlib.Path(tokenizer) / name, out / name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make(sys.argv[1], sys.argv[2])
