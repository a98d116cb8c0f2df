#!/usr/bin/env python3
"""Check a GGUF file against the Hugging Face directory it was made from: every key, every tensor, bit for bit.

    gguf_check.py MODEL FILE.gguf f32|f16|bf16

MODEL holds config.json, model.safetensors and a tokenizer. Written from ggml's description of the format, without our
code; needs no package.
"""
import json
import pathlib
import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DTYPES = {0: ("f32", 4), 1: ("f16", 2), 30: ("bf16", 2)}


# ---------------------------------------------------------------- reading GGUF

class Reader:
    def __init__(self, path):
        self.data, self.at = pathlib.Path(path).read_bytes(), 0

    def take(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def string(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            kind, count = self.take("I"), self.take("Q")
            return [self.value(kind) for _ in range(count)]
        return self.take(SCALARS[kind])


def read(path):
    """{key: value} and {name: (shape, dtype, bytes)} of a file; shapes with the fastest dimension last."""
    reader = Reader(path)
    assert reader.data[:4] == b"GGUF"
    reader.at = 4
    assert reader.take("I") == 3
    n_tensors, n_keys = reader.take("Q"), reader.take("Q")
    keys = {}
    for _ in range(n_keys):
        key = reader.string()
        assert key not in keys, key
        keys[key] = reader.value(reader.take("I"))
    places, end = {}, 0
    for _ in range(n_tensors):
        name = reader.string()
        shape = [reader.take("Q") for _ in range(reader.take("I"))][::-1]
        dtype, width = DTYPES[reader.take("I")]
        size, offset = width, reader.take("Q")
        for each in shape:
            size *= each
        assert name not in places and offset % 32 == 0 and offset == end, name
        end = (offset + size + 31) // 32 * 32
        places[name] = (shape, dtype, offset, size)
    start = (reader.at + 31) // 32 * 32
    assert len(reader.data) == start + end
    return keys, {name: (shape, dtype, reader.data[start + offset:start + offset + size])
                  for name, (shape, dtype, offset, size) in places.items()}


# ---------------------------------------------------------------- what must be in it

def read_safetensors(path):
    data = path.read_bytes()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        yield name, entry["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin:8 + length + end])


def bf16(x):
    bits, = struct.unpack("<I", struct.pack("<f", x))
    bits += 0x7fff + (bits >> 16 & 1)
    return struct.pack("<H", bits >> 16 & 0xffff)


def encode(values, dtype):
    if dtype == "bf16":
        return b"".join(map(bf16, values))
    return struct.pack(f"<{len(values)}" + {"f32": "f", "f16": "e"}[dtype], *values)


GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down"}
LLAMA = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
OUTSIDE = {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
           "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def rename(name):
    stem, _, kind = name.rpartition(".")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{kind}"
    parts = stem.split(".")
    return f"blk.{parts[2]}.{(GPT2 | LLAMA)['.'.join(parts[3:])]}.{kind}"


def columns(values, rows, width):
    """The transpose."""
    return [values[row * width + column] for column in range(width) for row in range(rows)]


def neighbours(values, heads, width):
    """Rows of each head from [first half, second half] to pairs, as llama.cpp rotates them."""
    rows = [values[at:at + width] for at in range(0, len(values), width)]
    per_head, out = len(rows) // heads, []
    for head in range(heads):
        mine = rows[head * per_head:(head + 1) * per_head]
        for first, second in zip(mine[:per_head // 2], mine[per_head // 2:]):
            out += [*first, *second]
    return out


def check_tensors(model, config, tensors, dtype):
    wanted = set()
    for name, shape, values in read_safetensors(model / "model.safetensors"):
        target = rename(name)
        wanted.add(target)
        if any(part in name for part in ("c_attn.w", "c_proj.w", "c_fc.w")):
            values, shape = columns(values, *shape), shape[::-1]
        if config["model_type"] == "llama" and (".q_proj" in name or ".k_proj" in name):
            heads = config["num_attention_heads"]
            heads = heads if ".q_proj" in name else config.get("num_key_value_heads", heads)
            values = neighbours(values, heads, shape[1] if len(shape) == 2 else 1)
        narrow = dtype if len(shape) == 2 and target != "position_embd.weight" else "f32"
        assert list(tensors[target][0]) == list(shape) and tensors[target][1] == narrow, (target, tensors[target][:2])
        assert tensors[target][2] == encode(values, narrow), target
    if config["model_type"] == "gpt2" and "output.weight" not in wanted:
        # llama.cpp's GPT-2 wants a head of its own.
        assert tensors["output.weight"] == tensors["token_embd.weight"]
        wanted.add("output.weight")
    assert wanted == set(tensors), wanted ^ set(tensors)


def expect(keys, wanted):
    """Each key has this value; it is taken away."""
    for key, value in wanted.items():
        found = keys.pop(key)
        if isinstance(value, float):
            value, = struct.unpack("<f", struct.pack("<f", value))
        assert found == value, (key, found, value)


def check_architecture(config, keys, dtype):
    kind = config["model_type"]
    if kind == "gpt2":
        names = {"context_length": config["n_positions"], "embedding_length": config["n_embd"], "block_count": config["n_layer"],
                 "feed_forward_length": config.get("n_inner") or 4 * config["n_embd"], "attention.head_count": config["n_head"],
                 "attention.layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5)}
    else:
        heads = config["num_attention_heads"]
        size = config.get("head_dim") or config["hidden_size"] // heads
        names = {"context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
                 "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
                 "attention.head_count": heads, "attention.head_count_kv": config.get("num_key_value_heads", heads),
                 "attention.key_length": size, "attention.value_length": size, "rope.dimension_count": size,
                 "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
                 "rope.freq_base": float((config.get("rope_parameters") or config).get("rope_theta", 10000.0))}
    names["vocab_size"] = config["vocab_size"]
    expect(keys, {f"{kind}.{name}": value for name, value in names.items()})
    expect(keys, {"general.architecture": kind, "general.type": "model", "general.name": kind,
                  "general.file_type": {"f32": 0, "f16": 1, "bf16": 32}[dtype]})


def content(value):
    return value["content"] if isinstance(value, dict) else value


def check_tokens(model, config, keys):
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    settings = json.loads((model / "tokenizer_config.json").read_text())
    bytes_level = (tokenizer["pre_tokenizer"] or {}).get("type") == "ByteLevel"
    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    ids = vocabulary | {name: token["id"] for name, token in added.items()}
    tokens, types = [f"[PAD{at}]" for at in range(config["vocab_size"])], [5] * config["vocab_size"]
    for token, at in ids.items():
        tokens[at], types[at] = token, 1
        if token in added:
            types[at] = 3 if added[token]["special"] else 4
            if token == "<unk>" and not bytes_level:
                types[at] = 2
        elif not bytes_level and len(token) == 6 and token.startswith("<0x"):
            types[at] = 6
    expect(keys, {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types})
    if bytes_level:
        expect(keys, {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.merges": merges,
                      "tokenizer.ggml.add_bos_token": False})
    else:
        scores = keys.pop("tokenizer.ggml.scores")
        # Merged by score, every merge of the file must win over every later one.
        rank = {}
        for at, merge in enumerate(merges):
            rank.setdefault(merge.replace(" ", ""), at)
        assert all(scores[ids[token]] == -at for token, at in rank.items())
        assert all(score < -len(merges) + 1 for score, token, kind in zip(scores, tokens, types) if kind == 1 and token not in rank)
        expect(keys, {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.add_space_prefix": True,
                      "tokenizer.ggml.add_bos_token": True})
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    expect(keys, {f"tokenizer.ggml.{name}_token_id": ids[content(settings[f"{short}_token"])]
                  for short, name in names.items() if settings.get(f"{short}_token") is not None})
    expect(keys, {"tokenizer.ggml.add_eos_token": False})
    if "chat_template" in settings:
        expect(keys, {"tokenizer.chat_template": settings["chat_template"]})


def check(model, keys, tensors, dtype):
    config = json.loads((model / "config.json").read_text())
    check_tensors(model, config, tensors, dtype)
    check_architecture(config, keys, dtype)
    check_tokens(model, config, keys)
    assert not keys, f"unexpected keys {sorted(keys)}"


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    keys, tensors = read(sys.argv[2])
    check(pathlib.Path(sys.argv[1]), keys, tensors, sys.argv[3])
    print(f"{len(tensors)} tensors and all keys agree")


if __name__ == "__main__":
    main()
