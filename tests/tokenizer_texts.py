#!/usr/bin/env python3
"""Texts to compare tokenizers on: the same ones on every machine.

    tokenizer_texts.py COUNT > TEXTS.jsonl       # {"prompt":"","completion":TEXT}, as dpo-tok reads them

Every script, emoji, control bytes, long runs, white space of every kind, numbers, code, decomposed
letters, and added tokens in the middle. U+0000 is left out, which a row cannot hold, and so are
characters younger than Unicode 10, on which libraries of different ages disagree. Needs no package.
"""
import json
import random
import sys

# Ranges in which (nearly) every code is a character, of Unicode 10 or before.
SCRIPTS = (
    (0x20, 0x7e), (0x61, 0x7a), (0x61, 0x7a), (0x41, 0x5a), (0x30, 0x39), (0xa1, 0xff), (0x100, 0x17f),
    (0x180, 0x24f), (0x250, 0x2ff), (0x300, 0x36f), (0x391, 0x3a1), (0x3b1, 0x3ff), (0x400, 0x52f),
    (0x561, 0x586), (0x5d0, 0x5ea), (0x621, 0x65f), (0x660, 0x6d3), (0x710, 0x74a), (0x780, 0x7b0),
    (0x904, 0x950), (0x964, 0x96f), (0x985, 0x98c), (0x9e6, 0x9f1), (0xa05, 0xa0a), (0xa85, 0xa8d),
    (0xb05, 0xb0c), (0xb85, 0xb8a), (0xbe6, 0xbf2), (0xc05, 0xc0c), (0xc85, 0xc8c), (0xd05, 0xd0c),
    (0xe01, 0xe3a), (0xe3f, 0xe5b), (0xe94, 0xe97), (0xf40, 0xf47), (0x1000, 0x109f), (0x10d0, 0x10fa),
    (0x1100, 0x11ff), (0x1200, 0x1248), (0x13a0, 0x13f4), (0x1401, 0x166c), (0x1780, 0x17dd),
    (0x1820, 0x1842), (0x1e00, 0x1eff), (0x1f00, 0x1f15), (0x1f80, 0x1faf), (0x2010, 0x205e),
    (0x2070, 0x2071), (0x2074, 0x208e), (0x20a0, 0x20bf), (0x2100, 0x218b), (0x2190, 0x23fa),
    (0x2460, 0x24ff), (0x2500, 0x2775), (0x2776, 0x27bf), (0x2800, 0x28ff), (0x3001, 0x303f),
    (0x3041, 0x3096), (0x30a1, 0x30ff), (0x3105, 0x312d), (0x3131, 0x318e), (0x3220, 0x32fe),
    (0x3300, 0x33ff), (0x3400, 0x4db5), (0x4e00, 0x9fa5), (0x4e00, 0x9fa5), (0xa000, 0xa48c),
    (0xac00, 0xd7a3), (0xf900, 0xfa6d), (0xfb00, 0xfb06), (0xfb50, 0xfbb1), (0xfdf0, 0xfdfc),
    (0xfe70, 0xfe74), (0xff01, 0xffbe), (0x10000, 0x1000b), (0x10330, 0x1034a), (0x10400, 0x1044f),
    (0x12000, 0x12399), (0x13000, 0x1342e), (0x1d400, 0x1d454), (0x1d7ce, 0x1d7ff), (0x1f000, 0x1f02b),
    (0x1f300, 0x1f5ff), (0x1f600, 0x1f64f), (0x1f680, 0x1f6d4), (0x20000, 0x2a6d6), (0xe000, 0xe0ff),
)
SPACES = " " * 12 + "\t\t\n\n\n\r" + "\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029" \
    "\u202f\u205f\u3000\u200b\ufeff\u180e\u2060"
PIECES = (
    "\r\n", "\r\n\r\n", "\n\n", "   \n", "\t\t", "'s", "'S", "'ll", "'LL", "'re", "'ve", "'m", "'d", "'t", "\u2019s",
    "'\u017f", "don't", " I'll", "1234567890", "3.14159", " 2024-11-24", "1,000,000", "\u00b2\u00bd", "x=y+1;", "if (a && !b)",
    "https://a.example/?q=1&r=%20", "<b>", "</p>", "&amp;", "```py\n", "#!/bin/sh\n", "#include <a.h>", "\\n", "{{", "}}",
    "...", "!!!", "--", "\u2014", "\u2581", "\u2581\u2581", "\u0120", "<0x0A>", "<0xC3>", "\u00e9", "e\u0301", "\u1e9b\u0323",
    "\u212b", "A\u030a", "\ufb01", "\uac01", "\u1100\u1161\u11a8", "\u0344", "\u0f73", "\u0958", "q\u0307\u0323", "q\u0323\u0307",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "1\ufe0f\u20e3",
    "\x01", "\x07", "\x1b[0m", "\x7f", "\x80", "\x9f", "\xad", "\ufffd", "\ufffe", "\u200d", "\u200e", "\u0130", "\u00df", "\u03a3",
    "Hello", " world", " the", " and", "The", " naive", " caf\u00e9", "\u4f60\u597d", " \u043f\u0440\u0438\u0432\u0435\u0442",
)
ADDED = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<bos>", "<eos>", "<|end|>", "<|user|>",
    "<|assistant|>", "<|system|>", "[INST]", "[/INST]", "<|begin_of_text|>", "<|eot_id|>", "<fim_prefix>", "<start_of_turn>",
    "<end_of_turn>", "<|padding|>", "<table>", "  ", "    ", "<|end", "|>", "<", "<|",
)


class Source:
    """Texts from a seed; only random(), which every Python computes alike."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def letter(self, script):
        return chr(script[0] + self.below(script[1] - script[0] + 1))

    def word(self):
        script = self.pick(SCRIPTS)
        return "".join(self.letter(script) for _ in range(1 + self.below(8)))

    def run(self):
        """One character, or two in turn, again and again."""
        unit = self.pick((self.pick(SPACES), self.word()[:1], self.word()[:2], self.pick(PIECES)))
        return unit * (1 + self.below(self.pick((8, 40, 40, 400))))

    def spaces(self):
        return "".join(self.pick(SPACES) for _ in range(1 + self.below(6)))

    def added(self):
        return self.pick(("", " ", "\n", "  ", "a")) + self.pick(ADDED) + self.pick(("", " ", "\n", "  ", "a"))

    def ascii(self):
        return "".join(chr(1 + self.below(127)) for _ in range(1 + self.below(12)))

    def text(self):
        kinds = (self.word, self.word, lambda: self.pick(PIECES), lambda: self.pick(PIECES), lambda: " ", lambda: " ",
                 self.spaces, self.added, self.ascii, self.run)
        length = self.pick((1, 2, 4, 8, 16, 32))
        return "".join(self.pick(kinds)() for _ in range(length))


def texts(count, seed=6):
    """`count` texts, the first of them the empty one."""
    source = Source(seed)
    return [""] + [source.text() for _ in range(count - 1)]


def rows(count):
    """The lines that dpo-tok reads."""
    for text in texts(count):
        yield json.dumps({"prompt": "", "completion": text})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\n".join(rows(int(sys.argv[1]))))
