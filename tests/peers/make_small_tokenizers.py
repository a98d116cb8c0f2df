#!/usr/bin/env python3
"""Train the small tokenizers of testdata/tokenizers on texts of this project.

    make_small_tokenizers.py            # writes unigram.json, unigram.model and bpe.model there

The text is testdata/story/train.jsonl and the generated texts of ../tokenizer_texts.py. unigram.json is the "model" object of a
tokenizer.json. The charsmap of unigram.model is made of a few rules: one key within another, a
deletion, a replacement with a space, one of several characters.
"""
import json
import pathlib
import sys
import tempfile

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(1, str(ROOT / "tests"))
import tokenizer_texts

RULES = (("FB01", "66 69"), ("2126", "3A9"), ("A0", "20"), ("9", "20"), ("A", "20"), ("3000", "20"), ("200B", ""), ("AD", ""),
         ("65 301", "E9"), ("65 301 323", "1EB9 301"), ("2026", "2E 2E 2E"), ("B4", "20 301"),
         ("1F44D", "2B 31"), ("FF21", "41"))


def stories():
    with open(ROOT / "testdata/story/train.jsonl", encoding="utf-8") as file:
        for line in list(file)[:300]:
            yield json.loads(line)["chosen"]


def every_script():
    yield from stories()
    for text in tokenizer_texts.texts(80, seed=1):
        yield text[:100]


def unigram_json():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator([*stories(), *tokenizer_texts.PIECES], trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=[], max_piece_length=12))
    return json.loads(tokenizer.to_str())["model"]


def sentencepiece_model(name, folder, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in every_script() for line in text.splitlines() if line.strip()),
        model_prefix=str(folder / name), minloglevel=2, num_threads=1, **options)


def main():
    out = ROOT / "testdata/tokenizers"
    out.mkdir(exist_ok=True)
    (out / "unigram.json").write_text(json.dumps(unigram_json(), ensure_ascii=False, separators=(",", ":")) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "rules.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in RULES))
        sentencepiece_model("unigram", folder, model_type="unigram", vocab_size=1100, character_coverage=0.98,
                            normalization_rule_tsv=str(folder / "rules.tsv"), user_defined_symbols=["<table>", "  "],
                            hard_vocab_limit=False)
        sentencepiece_model("bpe", folder, model_type="bpe", vocab_size=1400, character_coverage=0.98, byte_fallback=True,
                            normalization_rule_name="identity", remove_extra_whitespaces=False,
                            user_defined_symbols=["<|user|>", "\n\n", "[INST]"])
        for name in ("unigram.model", "bpe.model"):
            (out / name).write_bytes((folder / name).read_bytes())


if __name__ == "__main__":
    main()
