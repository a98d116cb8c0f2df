#!/usr/bin/env python3
"""Write tokenizers in the shapes of the model families, from vocabularies at hand.

    tokenizer_shapes.py ASSETS SHAPE DIRECTORY
    tokenizer_shapes.py --list

A shape is what a family's tokenizer.json (or vocab.json with merges.txt, or tokenizer.model) holds
besides its vocabulary: normalizer, pre-tokenizers, added tokens, post-processor, options. The
vocabulary is one of ASSETS (tokenizers/gpt2, tokenizers/qwen2, models/stories260k, or a .gguf of
vectors/), not always the family's own. Needs no package.
"""
import json
import pathlib
import struct
import sys

GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
                r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")
LETTERS = "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1fff"


# ---------------------------------------------------------------- reading

def gguf(path):
    """The metadata of a GGUF file, version 2 or 3."""
    data = pathlib.Path(path).read_bytes()
    at = 0

    def take(code):
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize(code)
        return value

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode("utf-8", "surrogateescape")

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            kind, n = take("I"), take("Q")
            return [value(kind) for _ in range(n)]
        return take("BbHhIif?..Qqd"[kind])

    if data[:4] != b"GGUF":
        raise ValueError(f"{path}: not a GGUF file")
    at = 4
    if take("I") not in (2, 3):
        raise ValueError(f"{path}: an unknown version")
    take("Q")
    entries = {}
    for _ in range(take("Q")):
        key = text()
        entries[key] = value(take("I"))
    return entries


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


class Assets:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    def gguf(self, name):
        return gguf(self.root / "vectors" / f"ggml-vocab-{name}.gguf")

    def bpe(self, name):
        """Vocabulary and merges, as pairs."""
        if name in ("gpt2", "qwen2"):
            folder = self.root / "tokenizers" / name
            lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
            merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            return read_json(folder / "vocab.json"), merges
        entries = self.gguf(name)
        vocab = {token: i for i, token in enumerate(entries["tokenizer.ggml.tokens"])}
        merges = entries.get("tokenizer.ggml.merges")
        if merges is not None:
            return vocab, [merge.split(" ") for merge in merges]
        return vocab, merges_of_scores(vocab, entries["tokenizer.ggml.scores"], entries["tokenizer.ggml.token_type"])


def merges_of_scores(vocab, scores, types):
    """The merges of a SentencePiece BPE model: every cut of a piece into two pieces, the best piece first."""
    normal = {piece for piece, i in vocab.items() if types[i] in (1, 4)}
    found = []
    for piece in normal:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in normal and right in normal:
                found.append((-scores[vocab[piece]], vocab[piece], len(left), left, right))
    return [[left, right] for *_, left, right in sorted(found)]


# ---------------------------------------------------------------- parts of a tokenizer.json

def split(pattern, behavior="Isolated", kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": False}


def byte_level(use_regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(kind, *items):
    return {"type": "Sequence", kind: list(items)}


def template(bos, number):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}}}


def added(number, content, special=True, normalized=False, lstrip=False, rstrip=False, single_word=False):
    return {"id": number, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def tokenizer(vocab, merges, tokens, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, **model):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      **model, "vocab": vocab, "merges": merges}}


PREPEND = sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})
SPM_DECODER = sequence("decoders", {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                       {"type": "ByteFallback"}, {"type": "Fuse"},
                       {"type": "Strip", "content": " ", "start": 1, "stop": 0})
SPM = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>", "decoder": SPM_DECODER}
SPM_TOKENS = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}


# ---------------------------------------------------------------- the shapes: each gives {file name: JSON, text or bytes}

def config(eos, **more):
    return {"eos_token": eos, **more}


def gpt2(assets):
    return {"tokenizer.json": read_json(assets.root / "tokenizers/gpt2/tokenizer.json"),
            "tokenizer_config.json": config("<|endoftext|>")}


def gpt2_files(assets):
    """DialoGPT's layout; lines of merges.txt end in CR LF."""
    folder = assets.root / "tokenizers/gpt2"
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    return {"vocab.json": read_json(folder / "vocab.json"), "merges.txt": "\r\n".join(merges).encode() + b"\r\n",
            "tokenizer_config.json": config("<|endoftext|>", tokenizer_class="GPT2Tokenizer")}


def neox(assets):
    """GPT-NeoX and Pythia: NFC, and runs of spaces that are added tokens of normalized text."""
    vocab, merges = assets.bpe("gpt2")
    tokens = [added(50256, "<|endoftext|>"), added(50257, "<|padding|>")]
    tokens += [added(50258 + i, " " * (24 - i), special=False, normalized=True) for i in range(23)]
    return {"tokenizer.json": tokenizer(vocab, merges, tokens, {"type": "NFC"}, byte_level(),
                                        byte_level(), byte_level()),
            "tokenizer_config.json": config("<|endoftext|>")}


def llama3(assets):
    """Llama 3: merges as pairs, words that are tokens are not merged, BOS from a template in a sequence."""
    vocab, merges = assets.bpe("gpt2")
    names = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>")
    del vocab["<|endoftext|>"]
    tokens = [added(50256 + i, name) for i, name in enumerate(names)]
    return {"tokenizer.json": tokenizer(
                vocab, merges, tokens, None, sequence("pretokenizers", split(LLAMA3_SPLIT), byte_level(False)),
                sequence("processors", byte_level(), template(names[0], 50256)), byte_level(), ignore_merges=True),
            "tokenizer_config.json": config("<|eot_id|>", bos_token=names[0])}


def qwen2_json(assets):
    """Qwen2, 2.5 and 3."""
    vocab, merges = assets.bpe("qwen2")
    tokens = [added(151643 + i, name) for i, name in enumerate(("<|endoftext|>", "<|im_start|>", "<|im_end|>"))]
    return {"tokenizer.json": tokenizer(
                vocab, merges, tokens, {"type": "NFC"},
                sequence("pretokenizers", split(QWEN2_SPLIT), byte_level(False)), byte_level(), byte_level()),
            "tokenizer_config.json": config("<|im_end|>")}


def qwen2(assets):
    folder = assets.root / "tokenizers/qwen2"
    return {name: (folder / name).read_bytes() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")}


def starcoder(assets):
    """StarCoder and SmolLM2: each digit a word."""
    vocab, merges = assets.bpe("starcoder")
    types = assets.gguf("starcoder")["tokenizer.ggml.token_type"]
    tokens = [added(i, token) for token, i in vocab.items() if types[i] == 3]
    return {"tokenizer.json": tokenizer(
                vocab, merges, tokens, None,
                sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level()),
                byte_level(), byte_level()),
            "tokenizer_config.json": config("<|endoftext|>")}


def deepseek(assets):
    """DeepSeek: a run of splits by ranges of letters, then digits, then bytes."""
    vocab, merges = assets.bpe("gpt2")
    marks = "!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002"
    return {"tokenizer.json": tokenizer(
                vocab, merges, [added(50256, "<|endoftext|>")], None,
                sequence("pretokenizers", split("[\r\n]"), split(rf"\s?[{LETTERS}]+"), split(rf"\s?[{marks}]+"),
                         split(r"\s+$"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7a3]+"),
                         {"type": "Digits", "individual_digits": True}, byte_level(False)),
                byte_level(), byte_level()),
            "tokenizer_config.json": config("<|endoftext|>")}


def llama(assets):
    """Llama 1 and 2, TinyLlama, Mistral: Prepend and Replace, byte fallback."""
    vocab, merges = assets.bpe("llama-spm")
    return {"tokenizer.json": tokenizer(vocab, [" ".join(merge) for merge in merges], SPM_TOKENS, PREPEND, None,
                                        template("<s>", 1), **SPM),
            "tokenizer_config.json": config("</s>", bos_token="<s>")}


def mistral(assets):
    """Mistral after v3: Metaspace at the beginning only, control tokens in the middle."""
    vocab, merges = assets.bpe("llama-spm")
    tokens = SPM_TOKENS + [added(32000, "[INST]"), added(32001, "[/INST]")]
    return {"tokenizer.json": tokenizer(vocab, merges, tokens, None, metaspace("first"), template("<s>", 1), **SPM),
            "tokenizer_config.json": config("</s>", bos_token="<s>")}


def phi3(assets):
    """Phi-3: added tokens that take the white space behind them."""
    vocab, merges = assets.bpe("phi-3")
    types = assets.gguf("phi-3")["tokenizer.ggml.token_type"]
    tokens = [added(i, token, rstrip=i >= 2 and token != "<|endoftext|>", special=types[i] == 3)
              for token, i in vocab.items() if types[i] in (3, 4)]
    return {"tokenizer.json": tokenizer(vocab, merges, tokens, PREPEND, None, None, **SPM),
            "tokenizer_config.json": config("<|endoftext|>", bos_token="<s>")}


def gemma(assets):
    """Gemma 2: spaces replaced, no prefix, a split that the normalizer leaves nothing to do, runs as added tokens."""
    vocab, merges = assets.bpe("llama-spm")
    tokens = SPM_TOKENS + [added(32000, "<start_of_turn>"), added(32001, "<end_of_turn>"),
                           added(32002, "<table>", special=False), added(32003, "\n\n", special=False),
                           added(32004, "\n\n\n", special=False)]
    tokens += [added(vocab["\u2581" * n], "\u2581" * n, special=False) for n in (2, 3, 4)]
    return {"tokenizer.json": tokenizer(
                vocab, merges, tokens, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                split(" ", "MergedWithPrevious", "String"), template("<s>", 1), **SPM),
            "tokenizer_config.json": config("<end_of_turn>", bos_token="<s>")}


def stories(assets):
    folder = assets.root / "models/stories260k"
    return {name: (folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}


def stories_model(assets):
    """A lone tokenizer.model."""
    folder = assets.root / "models/stories260k"
    return {"tokenizer.model": (folder / "tokenizer.model").read_bytes(), "tokenizer_config.json": config("</s>")}


# ---------------------------------------------------------------- SentencePiece models

def field(number, wire, payload):
    """One field of a protocol buffer: wire 0 an integer, 2 bytes, 5 a float."""
    def varint(n):
        out = b""
        n &= (1 << 64) - 1
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])
    body = varint(payload) if wire == 0 else struct.pack("<f", payload) if wire == 5 else varint(len(payload)) + payload
    return varint(number << 3 | wire) + body


def sentencepiece(entries, model_type=2, remove_extra=False):
    """The tokenizer.model that a GGUF's pieces, scores and types came from (identity normalizer)."""
    model = b""
    for piece, score, kind in zip(entries["tokenizer.ggml.tokens"], entries["tokenizer.ggml.scores"],
                                  entries["tokenizer.ggml.token_type"]):
        model += field(1, 2, field(1, 2, piece.encode()) + field(2, 5, score) + (field(3, 0, kind) if kind != 1 else b""))
    trainer = field(3, 0, model_type) + field(35, 0, 1)
    normalizer = field(1, 2, b"identity") + field(3, 0, 1) + field(4, 0, int(remove_extra)) + field(5, 0, 1)
    return model + field(2, 2, trainer) + field(3, 2, normalizer)


def llama_model(assets):
    return {"tokenizer.model": sentencepiece(assets.gguf("llama-spm")), "tokenizer_config.json": config("</s>")}


SHAPES = {"gpt2": gpt2, "gpt2-files": gpt2_files, "neox": neox, "llama3": llama3, "qwen2": qwen2, "qwen2-json": qwen2_json,
          "starcoder": starcoder, "deepseek": deepseek, "llama": llama, "mistral": mistral, "phi3": phi3, "gemma": gemma,
          "stories": stories, "stories-model": stories_model, "llama-model": llama_model}


def write_files(files, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if not isinstance(content, bytes):
            content = json.dumps(content, ensure_ascii=False).encode()
        (folder / name).write_bytes(content)


def write(assets, shape, folder):
    write_files(SHAPES[shape](Assets(assets)), folder)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(SHAPES))
    elif len(sys.argv) == 4:
        write(*sys.argv[1:])
    else:
        sys.exit(__doc__)
