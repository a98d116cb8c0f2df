#!/usr/bin/env python3
"""A world of three prompts whose answers can be listed, with a known reward, to hold a trained policy against theory.

    toy_world.py config                 config.json of a model of one layer
    toy_world.py sft                    answers with uneven frequencies, for dpo-cat -z: what the reference learns
    toy_world.py pairs [hard]           every pair of answers to a prompt with its exact Bradley-Terry probability;
                                        hard: 1 or 0 instead, as if the better answer always won
    toy_world.py floor                  the least loss there is: the mean entropy of these probabilities, in nats
    toy_world.py check BETA REFERENCE POLICY
                                        the total variation; both files are dpo-cat's output of the pairs scored by
                                        dpo-reflogp -m MODEL

A pair's label_prob is sigmoid(r(c) - r(j)), so the mean DPO loss over all pairs is least where, for every two answers,
beta (log-ratio(c) - log-ratio(j)) = r(c) - r(j): the policy is pi_ref(y|x) exp(r(y)/beta) / Z(x), the optimum of
KL-constrained reward maximisation (Rafailov et al. 2023, arXiv:2305.18290, equation 4). `check` prints the total variation
between policy and that target, each conditioned on the listed answers, of each prompt, and the largest. Needs no package.
"""
import itertools
import json
import math
import sys

END, VOCAB = 1, 16
# prompt: its answers without END, each with reward and how often the reference is shown it
WORLD = {
    (2,): {(5,): (0.35, 3), (6, 7): (-0.2, 5), (5, 8, 9): (0.0, 1), (10, 6, 7, 5): (0.5, 1), (11, 11, 12): (-0.45, 2)},
    (3, 4): {(6,): (-0.3, 6), (6, 6): (0.1, 3), (6, 6, 6): (0.4, 1), (13, 5): (0.25, 2), (): (-0.1, 2), (9, 8, 7, 6, 5): (0.6, 1)},
    (4, 3, 2): {(14,): (0.2, 1), (15, 14): (-0.5, 4), (15, 14, 13, 12): (0.05, 2), (8,): (0.3, 4)},
}
CONFIG = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
          "num_key_value_heads": 4, "max_position_embeddings": 16, "vocab_size": VOCAB, "rms_norm_eps": 1e-05,
          "rope_theta": 10000.0, "hidden_act": "silu", "initializer_range": 0.1, "tie_word_embeddings": False}
COLUMNS = {"sft": [["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"]],
           "pairs": [["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"], ["rejected", "i32[]"], ["label_prob", "f32"]]}


def print_stream(kind, rows):
    print(json.dumps({"header": {"format": 1, "kind": kind, "stages": [], "columns": COLUMNS[kind]}}))
    for number, row in enumerate(rows, 1):
        print(json.dumps({"id": str(number)} | row))
    print('{"end":true}')


def sft_rows():
    for prompt, answers in WORLD.items():
        for answer, (_, count) in answers.items():
            for _ in range(count):
                yield {"prompt": prompt, "chosen": [*answer, END]}


def pair_rows(hard=False):
    for prompt, answers in WORLD.items():
        for one, other in itertools.combinations(answers, 2):
            probability = 1 / (1 + math.exp(answers[other][0] - answers[one][0]))
            yield {"prompt": prompt, "chosen": [*one, END], "rejected": [*other, END],
                   "label_prob": round(probability) if hard else probability}


def floor():
    chances = [row["label_prob"] for row in pair_rows()]
    return -math.fsum(p * math.log(p) + (1 - p) * math.log1p(-p) for p in chances) / len(chances)


def read_logps(path):
    """{prompt: {answer: log-prob}} of a scored stream."""
    found = {prompt: {} for prompt in WORLD}
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            for side in ("chosen", "rejected") if "id" in row else ():
                found[tuple(row["prompt"])][tuple(row[side][:-1])] = math.fsum(row[f"ref_{side}_logps"])
    return found


def normalised(logs):
    top = max(logs.values())
    total = math.fsum(math.exp(value - top) for value in logs.values())
    return {answer: math.exp(value - top) / total for answer, value in logs.items()}


def total_variation(beta, reference, policy):
    """Of each prompt."""
    for prompt, answers in WORLD.items():
        if not set(answers) == set(reference[prompt]) == set(policy[prompt]):
            sys.exit(f"the answers to {prompt} are not all there")
        target = normalised({y: reference[prompt][y] + answers[y][0] / beta for y in answers})
        trained, start = normalised(policy[prompt]), normalised(reference[prompt])
        for y in answers:
            print(f"    {str(y):>18}  reference {start[y]:.4f}  target {target[y]:.4f}  policy {trained[y]:.4f}")
        yield 0.5 * math.fsum(abs(target[y] - trained[y]) for y in answers)


def main():
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "config" and len(sys.argv) == 2:
        print(json.dumps(CONFIG))
    elif verb == "sft" and len(sys.argv) == 2:
        print_stream("sft", sft_rows())
    elif verb == "pairs" and sys.argv[2:] in ([], ["hard"]):
        print_stream("pairs", pair_rows(hard=len(sys.argv) == 3))
    elif verb == "floor" and len(sys.argv) == 2:
        print(floor())
    elif verb == "check" and len(sys.argv) == 5:
        variations = list(total_variation(float(sys.argv[2]), read_logps(sys.argv[3]), read_logps(sys.argv[4])))
        for prompt, variation in zip(WORLD, variations):
            print(f"prompt {prompt}: total variation {variation:.5f}")
        print(f"largest {max(variations):.5f}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
