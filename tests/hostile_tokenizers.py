#!/usr/bin/env python3
"""Write tokenizers that ask for too much or make no sense, each with the message it must get.

    hostile_tokenizers.py DIRECTORY     # DIRECTORY/CASE/{files..., message}; the case "least" is a good one
"""
import json
import pathlib
import sys

from tokenizer_shapes import field

HUGE = 1 << 62


def model(**parts):
    return {"type": "BPE", "vocab": {"a": 0}, "merges": []} | parts


def spec(part=None, **parts):
    return {"tokenizer.json": {"model": part or model(), "added_tokens": [{"id": 1, "content": "</s>", "special": True}]} | parts}


def split(pattern):
    return spec(pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"})


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


def piece(text, score=0.0, kind=1):
    return field(1, 2, field(1, 2, text) + field(2, 5, score) + field(3, 0, kind))


def spm(*pieces, trainer=b"", normalizer=b""):
    return {"tokenizer.model": b"".join(pieces) + field(2, 2, trainer) + field(3, 2, normalizer)}


OUTSIDE = "is not within 0 and 16777215"
CASES = {
    "least": (spec(), ""),
    "empty-file": ({"tokenizer.json": b""}, "tokenizer.json: JSON, byte 0: unexpected end"),
    "nested": ({"tokenizer.json": nested(1000)}, "tokenizer.json: JSON, byte 326: nested too deeply"),
    "not-utf8": ({"tokenizer.json": b'{"model":{"vocab":{"\xff":0}}}'}, "tokenizer.json: JSON, byte 20: invalid UTF-8"),
    "id-negative": (spec(model(vocab={"a": 0, "b": -1})), f'tokenizer.json: token "b": id -1 {OUTSIDE}'),
    "id-huge": (spec(model(vocab={"a": 0, "b": 1 << 31})), f'tokenizer.json: token "b": id 2147483648 {OUTSIDE}'),
    "id-overflow": (spec(model(vocab={"a": 0, "b": 1 << 64})), 'tokenizer.json: the id of token "b" is not an integer'),
    "id-sparse": (spec(model(vocab={"a": 0, "b": (1 << 24) - 1, "c": 1 << 24})), f'tokenizer.json: token "c": id 16777216 {OUTSIDE}'),
    "id-twice": (spec(model(vocab={"a": 0, "b": 0})), 'tokenizer.json: tokens "a" and "b" have the same id 0'),
    "vocab-empty": (spec(model(vocab={})), "tokenizer.json: the vocabulary is empty"),
    "vocab-list": (spec(model(vocab=["a"])), "tokenizer.json: the vocabulary is not an object"),
    "merges-absent": (spec({"type": "BPE", "vocab": {"a": 0}}), 'tokenizer.json: "merges" is missing'),
    "merges-odd": (spec(model(merges=[["a"]])), "tokenizer.json: merge 0 is neither a string nor a pair of strings"),
    "merges-unknown": (spec(model(merges=["a b"])), 'tokenizer.json: merge 0, "a b": a token that is not in the vocabulary'),
    "merges-itself": (spec(model(merges=[["a", ""]])), 'tokenizer.json: merge 0, "a ": a token that is not in the vocabulary'),
    "added-empty": (spec(added_tokens=[{"id": 1, "content": ""}]), "tokenizer.json: added token 1 is empty"),
    "added-huge": (spec(added_tokens=[{"id": 1 << 40, "content": "x"}]),
                   'tokenizer.json: "id" is 1099511627776, not within 0 and 16777215'),
    "added-overlap": (spec(added_tokens=[{"id": 0, "content": "x"}]), 'tokenizer.json: tokens "a" and "x" have the same id 0'),
    "normalizer": (spec(normalizer={"type": "Nmt"}), "tokenizer.json: normalizer Nmt"),
    "normalizer-deep": (spec(normalizer={"type": "Sequence", "normalizers": [{"type": "Precompiled"}]}),
                        "tokenizer.json: normalizer Precompiled"),
    "pre-tokenizer": (spec(pre_tokenizer={"type": "BertPreTokenizer"}), "tokenizer.json: pre-tokenizer BertPreTokenizer"),
    "pre-tokenizers": (spec(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}] * 9}),
                       "tokenizer.json: more than 8 pre-tokenizers"),
    "post-processor": (spec(post_processor={"type": "BertProcessing"}), "tokenizer.json: post-processor BertProcessing"),
    "decoder": (spec(decoder={"type": "WordPiece"}), "tokenizer.json: decoder WordPiece"),
    "type-absent": (spec(decoder={}), 'tokenizer.json: "type" is missing'),
    "regex-long": (split("a" * 65537), "tokenizer.json: regular expression of 65537 bytes"),
    "regex-bomb": (split("((((a{1,1000}){1,1000}){1,1000}){1,1000})"),
                   "tokenizer.json: regular expression, byte 41: regular expression is too large"),
    "regex-callout": (split("(?C1)a"), "tokenizer.json: regular expression with (?C"),
    "regex-bytes": (split(r"\C"), "tokenizer.json: regular expression, byte 2: using \\C is disabled by the application"),
    "regex-verb": (split("(*LIMIT_MATCH=1)a"), "tokenizer.json: regular expression with (*L"),
    "regex-quote": (split(r"\Qa"), "tokenizer.json: regular expression with \\Q"),
    "regex-recursion": (split("(?R)"), "tokenizer.json: regular expression with (?R"),
    "unigram-scores": (spec({"type": "Unigram", "vocab": [["a", "b"]]}), "tokenizer.json: piece 0 is not a string with a score"),
    "unigram-unk": (spec({"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1}),
                    'tokenizer.json: "unk_id" is 1, not within 0 and 0'),
    "vocab-json": ({"vocab.json": {"a": 1 << 40}, "merges.txt": b""}, f'vocab.json: token "a": id 1099511627776 {OUTSIDE}'),
    "vocab-json-cut": ({"vocab.json": b'{"a":0,', "merges.txt": b""}, "vocab.json: JSON, byte 7: unexpected end"),
    "vocab-json-nested": ({"vocab.json": nested(1000), "merges.txt": b""}, "vocab.json: JSON, byte 321: nested too deeply"),
    "merges-txt": ({"vocab.json": {"a": 0}, "merges.txt": b"a a a\n"}, 'merges.txt: merge 0, "a a a", is not two tokens'),
    "merges-txt-crlf": ({"vocab.json": {"a": 0}, "merges.txt": b"#version: 0.2\r\na\r\n"},
                        'merges.txt: merge 0, "a", is not two tokens'),
    "merges-txt-nul": ({"vocab.json": {"a": 0}, "merges.txt": b"\0" * 9}, 'merges.txt: merge 0, "", is not two tokens'),
    "spm-empty": ({"tokenizer.model": b""}, "tokenizer.model: there are no pieces, or the file is cut short"),
    "spm-length": ({"tokenizer.model": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
                   "tokenizer.model: the file is not a protocol buffer, or damaged"),
    "spm-varint": ({"tokenizer.model": b"\x0a" + b"\xff" * 20}, "tokenizer.model: the file is not a protocol buffer, or damaged"),
    "spm-group": ({"tokenizer.model": b"\x0b"}, "tokenizer.model: the file is not a protocol buffer, or damaged"),
    "spm-cut": ({"tokenizer.model": piece(b"a")}, "tokenizer.model: there is no trainer_spec, or the file is cut short"),
    "spm-nan": (spm(piece(b"a", float("nan"))), "tokenizer.model: the score of piece 0 is not finite"),
    "spm-piece": (spm(piece(b"\xed\xa0\x80")), "tokenizer.model: the text of piece 0 is empty or not UTF-8"),
    "spm-type": (spm(piece(b"a"), trainer=field(3, 0, HUGE)),
                 f"tokenizer.model: model_type {HUGE}, neither unigram nor bpe"),
    "spm-charsmap": (spm(piece(b"a"), normalizer=field(2, 2, b"\xfc\xff\xff\x7f" + b"\0" * 8)),
                     "tokenizer.model: a precompiled charsmap of 12 bytes is damaged"),
}


def main():
    root = pathlib.Path(sys.argv[1])
    for name, (files, message) in CASES.items():
        folder = root / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
        (folder / "message").write_text(message)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
