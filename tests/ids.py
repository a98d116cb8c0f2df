#!/usr/bin/env python3
"""ids.py MODEL [ADAPTER]: the ids of tokenizer and model, of a llama's directory and perhaps one of PEFT, from dpo-stream(5) alone."""
import hashlib, json, re, struct, sys
from pathlib import Path

LEAF = 4 << 20


def H(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def u64(n):
    return struct.pack("<Q", n)


def tokenizer_id(directory):
    t, there = bytes(32), lambda name: (directory / name).exists()
    vocabulary = ["vocab.json", "merges.txt"] if there("vocab.json") else ["tokenizer.model"]
    names = ["tokenizer.json"] if there("tokenizer.json") else vocabulary + ["added_tokens.json"]
    for name in filter(there, names + ["tokenizer_config.json", "special_tokens_map.json"]):
        data = (directory / name).read_bytes()
        t = H(t, H(name.encode()), u64(len(data)), H(data))
    return t.hex()


def tensors(path):
    data = path.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            yield name.removeprefix("base_model.model."), about["dtype"], about["shape"], data[start + begin:start + end]


def model_id(path, config):
    parts = []
    for name, dtype, shape, data in sorted(tensors(path)):
        leaves = [H(data[at:at + LEAF]) for at in range(0, len(data), LEAF)]
        parts += [name.encode(), b"\0", dtype.encode(), b"\0", u64(len(shape)), *map(u64, shape), H(*leaves)]
    return H(b"dpo model 1\n", *parts, config.encode()).hex()


def config_text(config):
    heads = config["num_attention_heads"]
    lines = [("model_type", config["model_type"]), ("vocab_size", config["vocab_size"]), ("hidden_size", config["hidden_size"]),
             ("layers", config["num_hidden_layers"]), ("heads", heads), ("kv_heads", config["num_key_value_heads"]),
             ("head_dim", config["hidden_size"] // heads), ("intermediate_size", config["intermediate_size"]),
             ("attention_bias", 0), ("mlp_bias", 0), ("tied_head", int(config["tie_word_embeddings"])),
             ("norm_epsilon", "%.17g" % config["rms_norm_eps"]), ("rope_theta", "%.17g" % config["rope_theta"])]
    return "".join("%s=%s\n" % line for line in lines)


def adapter_text(base, directory):
    config = json.loads((directory / "adapter_config.json").read_text())
    scale, = struct.unpack("<f", struct.pack("<f", config["lora_alpha"] / config["r"]))
    scale = re.sub(r"\.?0*p", "p", scale.hex())
    names = [name for name, *_ in tensors(directory / "adapter_model.safetensors") if ".lora_A." in name]
    return "adapter %s\n" % base + "".join("%s %s\n" % (name, scale) for name in names)


def main(model, adapter=None):
    model = Path(model)
    found = model_id(model / "model.safetensors", config_text(json.loads((model / "config.json").read_text())))
    if adapter:
        found = model_id(Path(adapter) / "adapter_model.safetensors", adapter_text(found, Path(adapter)))
    print(tokenizer_id(model), found)


main(*sys.argv[1:])
