#!/usr/bin/env python3
"""Write tiny models with random weights, the same bytes everywhere.

    make_random.py OUT [NAME ...]

OUT/NAME (config.json and weights, no tokenizer) for each NAME of MODELS, or for those named. The
weights come from SHAKE-128 of each tensor's name, so they are the same on every machine and with
every version of everything, and no package is needed; make_gpt2.py draws a larger model so. Norms
and biases are not 1 and 0, and all is large for its size, so that a wrong scale, mask or bias shows.
"""
import array
import hashlib
import json
import math
import pathlib
import sys

from tensors import WIDTH, write

DEVIATION = {"embedding": 0.3, "position": 0.3, "matrix": 0.25, "gain": 0.2, "bias": 0.2}

GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 96,
        "n_layer": 2, "n_embd": 32, "n_head": 4, "n_inner": 48, "n_positions": 32,
        "bos_token_id": 0, "eos_token_id": 1,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-4}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 96,
         "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
         "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0}
TIED = LLAMA | {"tie_word_embeddings": True}
UNTIED = LLAMA | {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True,
                  "head_dim": 8, "rope_theta": 500000.0}
# name: (configuration, model whose weights it has, dtype, number of files)
MODELS = {
    "gpt2": (GPT2, "gpt2", "F32", 1),
    "llama-tied": (TIED, "llama-tied", "F32", 1),
    "llama": (UNTIED, "llama", "F32", 1),
    "llama-bf16": (UNTIED, "llama", "BF16", 1),
    "llama-f16": (UNTIED, "llama", "F16", 1),
    "llama-shards": (UNTIED, "llama", "F32", 2),
}


def noise(name, count, deviation):
    """`count` numbers of mean 0 and the given standard deviation, uniform, from the name."""
    words = array.array("H", hashlib.shake_128(name.encode()).digest(2 * count))
    if sys.byteorder == "big":
        words.byteswap()
    step = deviation * 12 ** 0.5 / 65536
    return array.array("f", ((w - 32767.5) * step for w in words))


def gpt2_plan(config):
    """(name, shape, kind) of every tensor of a GPT-2, by Hugging Face's names."""
    width = config["n_embd"]
    inner = config["n_inner"] or 4 * width
    yield "transformer.wte.weight", [config["vocab_size"], width], "embedding"
    yield "transformer.wpe.weight", [config["n_positions"], width], "position"
    for layer in range(config["n_layer"]):
        at = f"transformer.h.{layer}."
        for which in ("ln_1", "ln_2"):
            yield f"{at}{which}.weight", [width], "gain"
            yield f"{at}{which}.bias", [width], "bias"
        for which, rows, columns in (("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width),
                                     ("mlp.c_fc", width, inner), ("mlp.c_proj", inner, width)):
            yield f"{at}{which}.weight", [rows, columns], "matrix"
            yield f"{at}{which}.bias", [columns], "bias"
    yield "transformer.ln_f.weight", [width], "gain"
    yield "transformer.ln_f.bias", [width], "bias"


def llama_plan(config):
    """(name, shape, kind) of every tensor of a Llama, by Hugging Face's names."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    query, key = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [config["vocab_size"], width], "embedding"
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for which in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{which}.weight", [width], "gain"
        for which, rows, columns in (
                ("self_attn.q_proj", query, width), ("self_attn.k_proj", key, width),
                ("self_attn.v_proj", key, width), ("self_attn.o_proj", width, query),
                ("mlp.gate_proj", inner, width), ("mlp.up_proj", inner, width),
                ("mlp.down_proj", width, inner)):
            yield f"{at}{which}.weight", [rows, columns], "matrix"
            if config.get("mlp_bias" if which.startswith("mlp") else "attention_bias"):
                yield f"{at}{which}.bias", [rows], "bias"
    yield "model.norm.weight", [width], "gain"
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", [config["vocab_size"], width], "embedding"


def draw(plan, deviation, seed=""):
    """(name, shape, numbers) of the tensors of a plan: around 1 for gains, around 0 for the rest."""
    for name, shape, kind in plan:
        values = noise(seed + name, math.prod(shape), deviation[kind])
        if kind == "gain":
            values = array.array("f", (1 + v for v in values))
        yield name, shape, values


def write_shards(out, weights, files):
    """Write `files` files, contiguous tensors in each, and the index."""
    where, size = {}, 0
    for number in range(files):
        part = weights[number * len(weights) // files:(number + 1) * len(weights) // files]
        file = f"model-{number + 1:05}-of-{files:05}.safetensors"
        write(out / file, part)
        where |= {name: file for name, _, _ in part}
        size += sum(WIDTH["F32"] * len(values) for _, _, values in part)
    (out / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2) + "\n")


def make(name, out):
    """Write the model `name` of MODELS as the directory `out`."""
    config, source, dtype, files = MODELS[name]
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    plan = gpt2_plan if config["model_type"] == "gpt2" else llama_plan
    weights = list(draw(plan(config), DEVIATION, f"{source}/"))
    if files > 1:
        write_shards(out, weights, files)
    else:
        write(out / "model.safetensors", weights, dtype)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(MODELS):
        sys.exit(__doc__)
    for wanted in sys.argv[2:] or MODELS:
        make(wanted, pathlib.Path(sys.argv[1]) / wanted)
