#!/usr/bin/env python3
"""Diversity of sets of token sequences by NLTK: the numbers in tests/unit/test_diversity.c.

    diversity.py

distinct-1, -2, -3, self-BLEU (sentence_bleu of each sequence with all others, smoothing method 1) and the mean
share of repeated 4-grams, for the sets that the unit test makes: the same generator, written again.
"""
import nltk.translate.bleu_score as bleu
from nltk.util import ngrams

# Sequences, longest, vocabulary.
SETS = [(2, 6, 3), (6, 12, 4), (40, 30, 12), (25, 9, 200), (5, 40, 2)]


def make(count, longest, vocabulary):
    state = count * 1000003 + vocabulary
    sequences = []

    def draw(below):
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2 ** 32
        return (state >> 16) % below

    for _ in range(count):
        length = 1 + draw(longest)
        sequences.append([draw(vocabulary) for _ in range(length)])
    return sequences


def distinct(sequences, order):
    grams = [gram for s in sequences for gram in ngrams(s, order)]
    return len(set(grams)) / len(grams)


def self_bleu(sequences):
    smooth = bleu.SmoothingFunction().method1
    return sum(bleu.sentence_bleu(sequences[:i] + sequences[i + 1:], s, smoothing_function=smooth)
               for i, s in enumerate(sequences)) / len(sequences)


def repetition(sequences):
    shares = [1 - len(set(grams)) / len(grams) for grams in (list(ngrams(s, 4)) for s in sequences) if grams]
    return sum(shares) / len(shares)


for sizes in SETS:
    made = make(*sizes)
    numbers = [*(distinct(made, order) for order in (1, 2, 3)), self_bleu(made), repetition(made)]
    print("{ %d, %d, %d, { %.12g, %.12g, %.12g }, %.12g, %.12g }," % (*sizes, *numbers))
