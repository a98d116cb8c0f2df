#!/usr/bin/env python3
"""Write tiny random models of every family that GGUF is written of, and with every rope scaling, each with a tokenizer.

    gguf_models.py TOKENIZER OUT [NAME ...]

TOKENIZER is a directory with tokenizer.json and tokenizer_config.json of 640 tokens or fewer. The weights are those of
peers/make_random.py; sizes are what llama.cpp's kernels like.
"""
import pathlib
import shutil
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
import make_random as random

SHAPE = {"vocab_size": 640, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128}
WHOLE = SHAPE | {"num_key_value_heads": 4}
ROPE = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}
LONG = {"type": "longrope", "short_factor": [1.0 + i / 8 for i in range(8)], "long_factor": [1.5 + i for i in range(8)]}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
MODELS = {
    "gpt2": random.GPT2 | {"vocab_size": 640, "n_embd": 64, "n_head": 4, "n_inner": 96, "n_positions": 128},
    "neox": random.NEOX | SHAPE | {"num_key_value_heads": None, "head_dim": None},
    "neox-serial": random.NEOX | SHAPE | {"num_key_value_heads": None, "head_dim": None, "use_parallel_residual": False,
                                          "tie_word_embeddings": True},
    "llama": random.PLAIN | SHAPE | {"attention_bias": True, "mlp_bias": True},
    "mistral": random.MISTRAL | SHAPE | {"sliding_window": 96},
    "qwen2": random.QWEN2 | SHAPE | {"sliding_window": 80},
    "qwen3": random.QWEN3 | SHAPE,
    "phi3": random.PHI3 | WHOLE | {"head_dim": None, "original_max_position_embeddings": 128, "partial_rotary_factor": 1.0,
                                   "rope_scaling": None},
    "phi3-long": random.PHI3 | WHOLE | {"head_dim": None, "original_max_position_embeddings": 256, "partial_rotary_factor": 1.0,
                                        "max_position_embeddings": 512, "rope_scaling": LONG},
    "gemma2": random.GEMMA2 | SHAPE | {"sliding_window": 24, "query_pre_attn_scalar": 16},
    "olmo2": random.OLMO2 | SHAPE | {"head_dim": None},
    "rope-linear": random.PLAIN | SHAPE | {"rope_scaling": {"type": "linear", "factor": 2.5}},
    "rope-llama3": random.PLAIN | SHAPE | {"rope_scaling": ROPE},
    "rope-yarn": random.QWEN2 | SHAPE | {"use_sliding_window": False, "rope_parameters": YARN | {"rope_theta": 5000.0}},
}


def write(name, tokenizer, out):
    """One model, as the directory `out`."""
    config = {key: value for key, value in MODELS[name].items() if value is not None and key[1:] not in ("os_token_id",)}
    random.MODELS[name] = (config, "gguf-" + name, "F32", 1)
    random.make(name, out)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, out)


def main():
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= set(MODELS):
        sys.exit(__doc__)
    tokenizer, out = map(pathlib.Path, sys.argv[1:3])
    for name in sys.argv[3:] or MODELS:
        write(name, tokenizer, out / name)


if __name__ == "__main__":
    main()
