#!/usr/bin/env python3
"""Write small tokenizers, one for each component and variant that tokenizer.json can have.

    tokenizer_parts.py PART DIRECTORY
    tokenizer_parts.py --list

Vocabularies are testdata/tokenizers/unigram.json and testdata/story/tokenizer.json; the models of testdata/tokenizers
are parts of their own. A run of unknown characters is one token within a word, so cuts are seen in the ids. Needs no package.
"""
import json
import pathlib
import sys

import tokenizer_shapes as shapes

DATA = pathlib.Path(__file__).resolve().parent.parent / "testdata"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def numbered(tokens, first):
    return [token | {"id": first + i} for i, token in enumerate(tokens)]


def unigram(tokens=(), with_bytes=False, **parts):
    model = shapes.read_json(DATA / "tokenizers/unigram.json")
    if with_bytes:
        model["vocab"] += [[token, 0.0] for token in BYTES]
        model["byte_fallback"] = True
    added = [shapes.added(i, token) for i, token in enumerate(("<unk>", "<s>", "</s>"))]
    spec = shapes.tokenizer({}, [], added + numbered(tokens, len(model["vocab"])), **parts)
    return {"tokenizer.json": spec | {"model": model}, "tokenizer_config.json": {"eos_token": "</s>"}}


def bpe(tokens=(), unk=True, with_bytes=False, **parts):
    """The story model's merges, in a vocabulary of characters with an unknown token."""
    model = shapes.read_json(DATA / "story/tokenizer.json")["model"]
    vocab = model["vocab"]
    vocab["<unk>"], vocab["</s>"] = 640, 641
    vocab |= {token: len(vocab) + i for i, token in enumerate(BYTES if with_bytes else ())}
    added = [shapes.added(640, "<unk>"), shapes.added(641, "</s>")] + numbered(tokens, len(vocab))
    options = {"unk_token": "<unk>", "fuse_unk": True} if unk else {}
    return {"tokenizer.json": shapes.tokenizer(vocab, model["merges"], added, **{**options, **parts}),
            "tokenizer_config.json": {"eos_token": "</s>"}}


def cut(*steps):
    """BPE behind pre-tokenizers whose spaces are the story vocabulary's."""
    return bpe(pre_tokenizer=shapes.sequence("pretokenizers", *steps),
               normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u0120"})


def plain(step):
    return bpe(pre_tokenizer=step)


def normal(*steps):
    return unigram(normalizer=shapes.sequence("normalizers", *steps), pre_tokenizer=shapes.metaspace("always"))


def split(pattern, behavior, kind="Regex", invert=False):
    return shapes.split(pattern, behavior, kind) | {"invert": invert}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def spm(name):
    return {"tokenizer.model": (DATA / "tokenizers" / name).read_bytes(), "tokenizer_config.json": {"eos_token": "</s>"}}


def metaspace(scheme, whole=False, replacement="\u2581"):
    return {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": not whole}


RULES = [shapes.added(0, "<|end|>", lstrip=True), shapes.added(0, "<|user|>", rstrip=True),
         shapes.added(0, "<|system|>", lstrip=True, rstrip=True), shapes.added(0, "<table>", single_word=True),
         shapes.added(0, "<|", special=False), shapes.added(0, "<|im_start|>", special=False, normalized=True),
         shapes.added(0, "hello", special=False, normalized=True, single_word=True), shapes.added(0, "  ", special=False)]
SPLITS = {f"split-{name}{suffix}": lambda behavior=behavior, invert=invert: cut(split("[aeiou\u0120]+", behavior, invert=invert))
          for name, behavior in (("isolated", "Isolated"), ("removed", "Removed"), ("previous", "MergedWithPrevious"),
                                 ("next", "MergedWithNext"), ("contiguous", "Contiguous"))
          for suffix, invert in (("", False), ("-invert", True))}

PARTS = {
    "unigram": lambda: unigram(pre_tokenizer=metaspace("always")),
    "unigram-first": lambda: unigram(RULES, pre_tokenizer=metaspace("first")),
    "unigram-never": lambda: unigram(RULES, pre_tokenizer=metaspace("never")),
    "unigram-whole": lambda: unigram(pre_tokenizer=metaspace("always", True)),
    "unigram-alone": lambda: unigram(),
    "unigram-bytes": lambda: unigram(with_bytes=True, pre_tokenizer=metaspace("always")),
    "metaspace-legacy": lambda: unigram(pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}),
    "nfc": lambda: normal({"type": "NFC"}), "nfd": lambda: normal({"type": "NFD"}),
    "nfkc": lambda: normal({"type": "NFKC"}), "nfkd": lambda: normal({"type": "NFKD"}),
    "lowercase": lambda: normal({"type": "Lowercase"}),
    "accents": lambda: normal({"type": "NFD"}, {"type": "StripAccents"}),
    "strip": lambda: normal({"type": "Strip", "strip_left": True, "strip_right": True}),
    "strip-right": lambda: normal({"type": "Strip", "strip_left": False, "strip_right": True}),
    "prepend": lambda: unigram(normalizer={"type": "Prepend", "prepend": "\u2581"}),
    "replace": lambda: normal(replace("String", "the", "a"), replace("String", "ll", ""), replace("String", "''", "\"")),
    "replace-regex": lambda: normal(replace("Regex", " {2,}", " "), replace("Regex", "[0-9]+", "0"), replace("Regex", "x*", "-")),
    "rules": lambda: unigram(RULES, pre_tokenizer=metaspace("always")),
    "rules-normalized": lambda: unigram(RULES, normalizer={"type": "Lowercase"}, pre_tokenizer=metaspace("always")),
    "digits": lambda: cut({"type": "Digits", "individual_digits": False}),
    "digits-individual": lambda: cut({"type": "Digits", "individual_digits": True}),
    "punctuation": lambda: cut({"type": "Punctuation", "behavior": "Isolated"}),
    "punctuation-contiguous": lambda: cut({"type": "Punctuation", "behavior": "Contiguous"}),
    "whitespace": lambda: plain({"type": "Whitespace"}),
    "whitespace-split": lambda: plain({"type": "WhitespaceSplit"}),
    "delimiter": lambda: plain({"type": "CharDelimiterSplit", "delimiter": "e"}),
    "split-string": lambda: cut(split("\u0120the", "MergedWithPrevious", "String")),
    "byte-level-prefix": lambda: bpe(unk=False, pre_tokenizer=shapes.byte_level(True, True)),
    "byte-level-whole": lambda: bpe(unk=False, pre_tokenizer=shapes.byte_level(False)),
    "sequence": lambda: bpe(unk=False, pre_tokenizer=shapes.sequence(
        "pretokenizers", {"type": "Punctuation"}, {"type": "Digits", "individual_digits": False}, shapes.byte_level(True))),
    "unk-apart": lambda: bpe(fuse_unk=False),
    "unk-fused": lambda: bpe(),
    "bytes-gap": lambda: bpe([shapes.added(0, token) for token in BYTES[0x80:0xe3]], byte_fallback=True),
    "ignore-merges": lambda: bpe(unk=False, ignore_merges=True, pre_tokenizer=shapes.byte_level(True)),
    "ignore-merges-added": lambda: bpe([shapes.added(0, "\u0120naive")], unk=False, ignore_merges=True,
                                       pre_tokenizer=shapes.byte_level(True)),
    "bytes-added": lambda: bpe([shapes.added(0, "\u597d", single_word=True)], with_bytes=True, byte_fallback=True),
    "template": lambda: bpe(post_processor=shapes.sequence("processors", shapes.template("<unk>", 640), shapes.byte_level())),
    "strip-first": lambda: unigram(RULES, normalizer={"type": "Strip", "strip_left": True, "strip_right": True},
                                   pre_tokenizer=metaspace("first")),
    "replace-first": lambda: unigram(RULES, normalizer=replace("Regex", "^ +", ""), pre_tokenizer=metaspace("first")),
    "replace-end": lambda: unigram(RULES, normalizer=replace("Regex", "$", "!"), pre_tokenizer=metaspace("always")),
    "split-empty": lambda: cut(split("x*", "Isolated")), "split-empty-next": lambda: cut(split("e*", "MergedWithNext")),
    "split-empty-previous": lambda: cut(split("e*", "MergedWithPrevious")),
    "cut-first": lambda: unigram(RULES, pre_tokenizer=shapes.sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace("first"))),
    "unigram-model": lambda: spm("unigram.model"),
    "bpe-model": lambda: spm("bpe.model"),
} | SPLITS


def write(part, folder):
    shapes.write_files(PARTS[part](), folder)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(PARTS))
    elif len(sys.argv) == 3:
        write(*sys.argv[1:])
    else:
        sys.exit(__doc__)
