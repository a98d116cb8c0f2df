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

DEVIATION = {"embedding": 0.3, "position": 0.3, "matrix": 0.25, "gain": 0.2, "gain from 0": 0.2, "bias": 0.2}

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
# Of Llama's shape; each family adds what is its own. Long rows pass the windows and original lengths.
PLAIN = LLAMA | {"tie_word_embeddings": False}
# Token 17 is in prompt and answers of golden_torch.py's pairs: as the padding token its embedding is left alone by some families.
PADDED = {"pad_token_id": 17}
NEOX = PADDED | {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": 96,
        "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
        "max_position_embeddings": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-4, "rotary_pct": 0.5,
        "rotary_emb_base": 1000, "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False}
MISTRAL = PLAIN | PADDED | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "head_dim": 6,
                   "sliding_window": 5}
QWEN2 = PLAIN | {"pad_token_id": 17 - 96, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True,
                 "sliding_window": 6, "max_window_layers": 1, "rope_theta": 1000000.0}
QWEN3 = PLAIN | PADDED | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 8,
                 "tie_word_embeddings": True, "use_sliding_window": False}
PHI3 = PLAIN | PADDED | {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"],
                "num_attention_heads": 2, "num_key_value_heads": 2,
                "original_max_position_embeddings": 20, "partial_rotary_factor": 0.75,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5, 2.5], "long_factor": [1.5, 3.0, 7.0]}}
GEMMA2 = PLAIN | PADDED | {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "num_hidden_layers": 3,
                  "head_dim": 6, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 5,
                  "sliding_window": 7, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0,
                  "tie_word_embeddings": True}
OLMO2 = PLAIN | PADDED | {"model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"]}
LINEAR = PLAIN | {"rope_scaling": {"type": "linear", "factor": 2.5}}
DYNAMIC = PLAIN | {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 16}
LLAMA3 = PLAIN | {"head_dim": 16, "rope_scaling": {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16}}
YARN = PLAIN | {"head_dim": 16, "rope_parameters": {
    "rope_type": "yarn", "factor": 4.0, "beta_fast": 3.0, "beta_slow": 0.5, "rope_theta": 5000.0,
    "original_max_position_embeddings": 12}}
LONGROPE = PLAIN | {"rope_scaling": {
    "rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 5.0], "factor": 3.0,
    "original_max_position_embeddings": 9}}
# name: (configuration, model whose weights it has, dtype, number of files)
MODELS = {
    "neox": (NEOX, "neox", "F32", 1),
    "neox-serial": (NEOX | {"use_parallel_residual": False, "hidden_act": "relu", "attention_bias": False,
                            "tie_word_embeddings": True}, "neox-serial", "F32", 1),
    "mistral": (MISTRAL, "mistral", "F32", 1),
    "qwen2": (QWEN2, "qwen2", "F32", 1),
    "qwen3": (QWEN3, "qwen3", "F32", 1),
    "phi3": (PHI3, "phi3", "F32", 1),
    "gemma2": (GEMMA2, "gemma2", "F32", 1),
    "olmo2": (OLMO2, "olmo2", "F32", 1),
    "rope-linear": (LINEAR, "rope-linear", "F32", 1),
    "rope-dynamic": (DYNAMIC, "rope-dynamic", "F32", 1),
    "rope-llama3": (LLAMA3, "rope-llama3", "F32", 1),
    "rope-yarn": (YARN, "rope-yarn", "F32", 1),
    "rope-longrope": (LONGROPE, "rope-longrope", "F32", 1),
    "gpt2": (GPT2, "gpt2", "F32", 1),
    "llama-tied": (TIED, "llama-tied", "F32", 1),
    "llama": (UNTIED, "llama", "F32", 1),
    "llama-bf16": (UNTIED, "llama", "BF16", 1),
    "llama-f16": (UNTIED, "llama", "F16", 1),
    "llama-shards": (UNTIED, "llama", "F32", 2),
}
# Rotary frequencies depend on the length.
BY_LENGTH = {"phi3", "rope-dynamic", "rope-longrope"}


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


def neox_plan(config):
    """(name, shape, kind) of every tensor of a GPT-NeoX, by Hugging Face's names."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    yield "gpt_neox.embed_in.weight", [config["vocab_size"], width], "embedding"
    for layer in range(config["num_hidden_layers"]):
        at = f"gpt_neox.layers.{layer}."
        for which in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{which}.weight", [width], "gain"
            yield f"{at}{which}.bias", [width], "bias"
        for which, rows, columns in (
                ("attention.query_key_value", 3 * width, width), ("attention.dense", width, width),
                ("mlp.dense_h_to_4h", inner, width), ("mlp.dense_4h_to_h", width, inner)):
            yield f"{at}{which}.weight", [rows, columns], "matrix"
            if which.startswith("mlp") or config.get("attention_bias", True):
                yield f"{at}{which}.bias", [rows], "bias"
    yield "gpt_neox.final_layer_norm.weight", [width], "gain"
    yield "gpt_neox.final_layer_norm.bias", [width], "bias"
    if not config["tie_word_embeddings"]:
        yield "embed_out.weight", [config["vocab_size"], width], "embedding"


# Norms of a layer over the whole width, and over queries and keys, where they are not Llama's.
NORMS = {"gemma2": ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                    "post_feedforward_layernorm"),
         "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm")}
LLAMA_NORMS = ("input_layernorm", "post_attention_layernorm")


def llama_maps(config, width, query, key, inner):
    """(name, outputs, inputs) of the linear maps of a layer."""
    if config["model_type"] == "phi3":
        return (("self_attn.qkv_proj", query + 2 * key, width), ("self_attn.o_proj", width, query),
                ("mlp.gate_up_proj", 2 * inner, width), ("mlp.down_proj", width, inner))
    return (("self_attn.q_proj", query, width), ("self_attn.k_proj", key, width),
            ("self_attn.v_proj", key, width), ("self_attn.o_proj", width, query),
            ("mlp.gate_proj", inner, width), ("mlp.up_proj", inner, width),
            ("mlp.down_proj", width, inner))


def llama_bias(config, which):
    """Has this map a bias?"""
    if config["model_type"] == "qwen2":
        return which in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    return config.get("mlp_bias" if which.startswith("mlp") else "attention_bias")


def llama_plan(config):
    """(name, shape, kind) of every tensor of a Llama or one of its kin, by Hugging Face's names."""
    width, inner, family = config["hidden_size"], config["intermediate_size"], config["model_type"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    query, key = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    gain = "gain from 0" if family == "gemma2" else "gain"
    yield "model.embed_tokens.weight", [config["vocab_size"], width], "embedding"
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for which in NORMS.get(family, LLAMA_NORMS):
            yield f"{at}{which}.weight", [width], gain
        if family in ("qwen3", "olmo2"):
            yield f"{at}self_attn.q_norm.weight", [head if family == "qwen3" else query], gain
            yield f"{at}self_attn.k_norm.weight", [head if family == "qwen3" else key], gain
        for which, rows, columns in llama_maps(config, width, query, key, inner):
            yield f"{at}{which}.weight", [rows, columns], "matrix"
            if llama_bias(config, which):
                yield f"{at}{which}.bias", [rows], "bias"
    yield "model.norm.weight", [width], gain
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", [config["vocab_size"], width], "embedding"


PLANS = {"gpt2": gpt2_plan, "gpt_neox": neox_plan}


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
    plan = PLANS.get(config["model_type"], llama_plan)
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
