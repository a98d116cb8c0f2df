#!/usr/bin/env python3
"""Check a GGUF file against the Hugging Face directory it was made from: every key, every tensor, bit for bit.

    gguf_check.py MODEL FILE.gguf f32|f16|bf16

MODEL holds config.json, model.safetensors and a tokenizer. Written from ggml's description of the format, without our
code; needs no package.
"""
import json
import math
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
NEOX = {"input_layernorm": "attn_norm", "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm", "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"}
LLAMA = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
AFTER = LLAMA | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                 "post_feedforward_layernorm": "post_ffw_norm"}
INSIDE = {"gpt2": GPT2, "gpt_neox": NEOX, "gemma2": AFTER, "olmo2": AFTER}
OUTSIDE = {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
           "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
           "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output"}
ARCHITECTURES = {"gpt_neox": "gptneox", "mistral": "llama"}
OWN_HEAD = ("gpt2", "gpt_neox", "olmo2")  # llama.cpp's have one, tied or not


def rename(name, model_type):
    stem, _, kind = name.rpartition(".")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{kind}"
    parts = stem.split(".")
    return f"blk.{parts[2]}.{INSIDE.get(model_type, LLAMA)['.'.join(parts[3:])]}.{kind}"


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


def by_part(values, heads):
    """q, k, v of one head after another: all q, then all k, then all v."""
    size = len(values) // (3 * heads)
    return [value for part in range(3) for head in range(heads)
            for value in values[(3 * head + part) * size:(3 * head + part + 1) * size]]


def arrange(name, shape, values, config):
    """The numbers of a tensor as llama.cpp computes with them."""
    kind = config["model_type"]
    if any(part in name for part in ("c_attn.w", "c_proj.w", "c_fc.w")):
        return columns(values, *shape), shape[::-1]
    if kind in ("llama", "mistral") and (".q_proj" in name or ".k_proj" in name):
        heads = config["num_attention_heads"]
        heads = heads if ".q_proj" in name else config.get("num_key_value_heads", heads)
        return neighbours(values, heads, shape[1] if len(shape) == 2 else 1), shape
    if "query_key_value" in name:
        return by_part(values, config["num_attention_heads"]), shape
    if kind == "gemma2" and "norm" in name:
        return [struct.unpack("<f", struct.pack("<f", 1 + value))[0] for value in values], shape
    return values, shape


def rope_factors(config):
    """{tensor: by what it divides the rotary frequencies}."""
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "longrope":
        return {f"rope_factors_{which}.weight": scaling[f"{which}_factor"] for which in ("long", "short")}
    if kind != "llama3":
        return {}
    factors, original = [], scaling["original_max_position_embeddings"]
    for at in range(0, config["head_dim"], 2):
        turns = original / (2 * math.pi * config["rope_theta"] ** (at / config["head_dim"]))
        smooth = (turns - scaling["low_freq_factor"]) / (scaling["high_freq_factor"] - scaling["low_freq_factor"])
        smooth = min(max(smooth, 0), 1)
        factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return {"rope_freqs.weight": factors}


def check_tensors(model, config, tensors, dtype):
    wanted = set()
    for name, shape, values in read_safetensors(model / "model.safetensors"):
        target = rename(name, config["model_type"])
        wanted.add(target)
        values, shape = arrange(name, shape, values, config)
        narrow = dtype if len(shape) == 2 and target != "position_embd.weight" else "f32"
        assert list(tensors[target][0]) == list(shape) and tensors[target][1] == narrow, (target, tensors[target][:2])
        assert tensors[target][2] == encode(values, narrow), target
    for name, factors in rope_factors(config).items():
        wanted.add(name)
        found = struct.unpack(f"<{len(factors)}f", tensors[name][2])
        assert tensors[name][:2] == ([len(factors)], "f32")
        assert all(abs(a - b) <= 2e-6 * b for a, b in zip(found, factors)), (name, found, factors)
    if config["model_type"] in OWN_HEAD and "output.weight" not in wanted:
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


def rope_keys(config):
    """Those of the stretching."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    original = scaling.get("original_max_position_embeddings", config.get("original_max_position_embeddings"))
    if kind == "longrope":
        stretch = config["max_position_embeddings"] / original
        return {"rope.scaling.type": kind, "rope.scaling.original_context_length": original,
                "rope.scaling.attn_factor": math.sqrt(1 + math.log(stretch) / math.log(original))}
    if kind == "yarn":
        return {"rope.scaling.type": kind, "rope.scaling.factor": scaling["factor"],
                "rope.scaling.original_context_length": original}
    return {"rope.scaling.type": kind, "rope.scaling.factor": scaling["factor"]} if kind == "linear" else {}


def shared_names(config):
    """What all but GPT-2 have."""
    heads, kind = config["num_attention_heads"], config["model_type"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    positions, theta = config["max_position_embeddings"], config.get("rotary_emb_base", config.get("rope_theta", 10000.0))
    stretched = (config.get("rope_scaling") or config.get("rope_parameters") or {})
    if stretched.get("rope_type", stretched.get("type")) in ("linear", "yarn"):
        positions = int(max(positions, stretched["factor"] * stretched.get("original_max_position_embeddings", positions)))
    if config.get("sliding_window") and config.get("use_sliding_window", True) and kind != "gemma2":
        positions = min(positions, config["sliding_window"])
    norm = "layer_norm_epsilon" if kind == "gpt_neox" else "layer_norm_rms_epsilon"
    return {"context_length": positions, "embedding_length": config["hidden_size"],
            "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
            "attention.head_count": heads, "attention.head_count_kv": config.get("num_key_value_heads", heads),
            "attention.key_length": size, "attention.value_length": size,
            "rope.dimension_count": int(size * config.get("rotary_pct", config.get("partial_rotary_factor", 1.0))),
            f"attention.{norm}": config["layer_norm_eps" if kind == "gpt_neox" else "rms_norm_eps"],
            "rope.freq_base": float((config.get("rope_parameters") or config).get("rope_theta", theta))} | rope_keys(config)


def check_architecture(config, keys, dtype):
    kind = config["model_type"]
    if kind == "gpt2":
        names = {"context_length": config["n_positions"], "embedding_length": config["n_embd"], "block_count": config["n_layer"],
                 "feed_forward_length": config.get("n_inner") or 4 * config["n_embd"], "attention.head_count": config["n_head"],
                 "attention.layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5)}
    else:
        names = shared_names(config)
    if kind == "gpt_neox":
        names["use_parallel_residual"] = config.get("use_parallel_residual", True)
    if kind == "gemma2":
        names |= {"attn_logit_softcapping": config["attn_logit_softcapping"], "attention.sliding_window": config["sliding_window"],
                  "final_logit_softcapping": config["final_logit_softcapping"]}
    names["vocab_size"] = config["vocab_size"]
    architecture = ARCHITECTURES.get(kind, kind)
    expect(keys, {f"{architecture}.{name}": value for name, value in names.items()})
    # llama.cpp takes "phi3" in a name for a tokenizer that these models have not.
    expect(keys, {"general.architecture": architecture, "general.type": "model", "general.name": "phi" if kind == "phi3" else kind,
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


# ---------------------------------------------------------------- tokenizer.model

def fields(data):
    """(number, value) of each field of a protocol buffer's message: an int, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}[key & 7] if key & 7 != 2 else varint()
        at += size
        yield key >> 3, data[at - size:at]


def read_sentencepiece(path):
    """The pieces as (text, score, type), and the normalizer's fields."""
    pieces, normalizer = [], {}
    for number, value in fields(pathlib.Path(path).read_bytes()):
        if number == 1:
            piece = dict(fields(value))
            pieces.append((piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0], piece.get(3, 1)))
        elif number == 3:
            normalizer = dict(fields(value))
    return pieces, normalizer


def check_pieces(keys, sentencepiece, rows, model):
    """What a lone tokenizer.model gives."""
    pieces, normalizer = sentencepiece
    padded = pieces + [(f"[PAD{at}]", 0.0, 5) for at in range(len(pieces), rows)]
    expect(keys, {"tokenizer.ggml.model": model, "tokenizer.ggml.pre": "default",
                  "tokenizer.ggml.tokens": [text for text, _, _ in padded],
                  "tokenizer.ggml.scores": [score for _, score, _ in padded],
                  "tokenizer.ggml.token_type": [kind for _, _, kind in padded],
                  "tokenizer.ggml.add_space_prefix": bool(normalizer.get(3, 1)), "tokenizer.ggml.unknown_token_id": 0})
    if model == "t5":
        charsmap = normalizer.get(2, b"")
        expect(keys, {"tokenizer.ggml.remove_extra_whitespaces": bool(normalizer.get(4, 1))})
        assert bytes(keys.pop("tokenizer.ggml.precompiled_charsmap", b"")) == charsmap and charsmap


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
