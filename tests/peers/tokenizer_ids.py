#!/usr/bin/env python3
"""Token ids of Hugging Face's tokenizers (and SentencePiece) on generated texts, beside ours.

    tokenizer_ids.py golden [--assets DIR] [--count N] [NAME...]     # the digests kept in testdata/golden/tokenizers
    tokenizer_ids.py compare [--assets DIR] [--count N] [NAME...]    # run dpo-tok ($DPO_BIN), show what differs

Texts are those of ../tokenizer_texts.py; names are with --assets those of ../tokenizer_shapes.py, else those of
../tokenizer_parts.py. As TRL does it, EOS is written behind a text that does not end in it, and text and EOS are encoded as one.
"""
import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))
import tokenizer_check
import tokenizer_parts
import tokenizer_shapes
import tokenizer_texts

# Shapes without a tokenizer.json of their own, and the shape that holds the same tokenizer in one.
SAME_AS = {"gpt2-files": "gpt2", "qwen2": "qwen2-json"}


def pieces(text, tokens):
    """The text cut at the given tokens, which become (token, True)."""
    while text:
        found = [(text.find(token), -len(token), token) for token in tokens if token in text]
        if not found:
            yield text, False
            return
        at, _, token = min(found)
        if at:
            yield text[:at], False
        yield token, True
        text = text[at + len(token):]


def sentencepiece_encoder(path):
    """A lone tokenizer.model: control tokens are found in the text, the rest is SentencePiece's; BOS in front."""
    import sentencepiece
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(processor.get_piece_size())
    special = {processor.id_to_piece(i): i for i in ids if processor.is_control(i) or processor.is_unknown(i)}

    def encode(text):
        out = [processor.bos_id()] if processor.bos_id() >= 0 else []
        for piece, found in pieces(text, special):
            out += [special[piece]] if found else processor.encode(piece)
        return out
    return encode


def encoder(assets, shape, folder):
    """A function from text to ids, and the EOS text."""
    tokenizer_check.write(assets, shape, folder)
    eos = json.loads((folder / "tokenizer_config.json").read_text())["eos_token"]
    if (folder / "tokenizer.model").exists():
        return sentencepiece_encoder(folder / "tokenizer.model"), eos
    if shape in SAME_AS:
        return encoder(assets, SAME_AS[shape], folder.with_name(folder.name + "-json"))[0], eos
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: tokenizer.encode(text).ids, eos


def reference(assets, shape, folder, count):
    encode, eos = encoder(assets, shape, folder)
    return [encode(text if text.endswith(eos) else text + eos) for text in tokenizer_texts.texts(count)]


def compare(assets, shape, folder, count):
    """Print the first texts whose ids differ; how many do."""
    wrong = 0
    theirs, texts = reference(assets, shape, folder, count), tokenizer_texts.texts(count)
    for text, wanted, found in zip(texts, theirs, tokenizer_check.ours(folder, count), strict=True):
        if wanted == found:
            continue
        wrong += 1
        if wrong <= 3:
            at = next((i for i, (a, b) in enumerate(zip(wanted, found)) if a != b), min(len(wanted), len(found)))
            print(f"{shape}: {ascii(text)[:300]}\n  at {at}: {found[max(0, at - 2):at + 6]}, "
                  f"not {wanted[max(0, at - 2):at + 6]}")
    print(f"{shape}: {wrong} of {len(texts)} texts differ", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("golden", "compare"))
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--assets")
    parser.add_argument("--count", type=int, default=10000)
    given = parser.parse_intermixed_args()
    wrong, entries = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.names or (tokenizer_shapes.SHAPES if given.assets else tokenizer_parts.PARTS):
            folder = pathlib.Path(scratch) / shape
            if given.verb == "compare":
                wrong += compare(given.assets, shape, folder, given.count)
            else:
                entry = tokenizer_check.digest(reference(given.assets, shape, folder, given.count))
                entries.append(f"{json.dumps(shape)}: {json.dumps(entry)}")
    if given.verb == "golden":
        print("{\n" + ",\n".join(entries) + "\n}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
