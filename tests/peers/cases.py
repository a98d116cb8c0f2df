#!/usr/bin/env python3
"""The comparisons with TRL: their settings, and the inputs they run on.

    cases.py CASE ASSETS OUT        make OUT/model and OUT/train.jsonl (D, S, T: also OUT/eval.jsonl)
    cases.py CASE --arguments       print the arguments of dpo-tok (first line) and dpo-train
    cases.py --stream FILE          rows of token ids (case T) as JSON Lines for dpo-cat -z

Needs no package, so a test can make the inputs anywhere. ASSETS is the directory that holds models/,
prefs/ and tokenizers/; nothing of it is kept in the repository, and T needs nothing of it.

A  the story model on the first 256 story pairs: one epoch, linear schedule
B  80 story pairs, some with long prompts: warm-up and cosine, weight decay, clipping, two epochs,
   a last batch that is not full, a max_length that cuts 56 answers and drops three rows (one prompt
   of exactly max_length tokens), and a gradient norm that is clipped in some steps only
C  a GPT-2 with random weights (make_gpt2.py) on the first 96 PandaLM pairs, answers cut
D  learning: the story model, one epoch over all 1,130 pairs, and its loss on the held-out ones
S  TR-DPO: the story model, 24 pairs twice, the reference moved every 2 of 6 steps, evaluated every 3
T  the same on a tiny model of make_random.py, with rows that are token ids

Adapters (LoRA), which start from the one that dpo-train draws; trl_run.py takes it from --adapter:
L  the story model, rank 8 on all linear maps
M  a tiny random GPT-2 with the embedded story model's tokenizer and pairs, the same adapter
N  the same with ranks and alphas by pattern, rank-stabilised, two modules trained whole
M and N need no assets.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import make_gpt2
import make_random
import tensors

PLAIN = {"beta": 0.1, "learning_rate": 1e-4, "lr_scheduler_type": "linear", "warmup_steps": 0,
         "weight_decay": 0.0, "max_grad_norm": 1.0, "per_device_train_batch_size": 8,
         "num_train_epochs": 1, "max_length": 512}
SYNC = PLAIN | {"learning_rate": 2e-4, "num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 3,
                "sync_ref_model": True, "ref_model_mixup_alpha": 0.6, "ref_model_sync_steps": 2}
LORA = {"lora-r": 8, "lora-alpha": 16, "lora-target-modules": "all-linear"}
CASES = {
    "A": {"model": "stories260k", "rows": 256, "settings": PLAIN},
    "B": {"model": "stories260k", "rows": 80,
          "repeat": {7: 4, 10: 6, 18: 9, 28: 7, 29: 5, 44: 12, 61: 2, 79: 3},
          "settings": PLAIN | {"beta": 0.2, "learning_rate": 2e-4, "lr_scheduler_type": "cosine",
                               "warmup_steps": 6, "weight_decay": 0.1, "max_grad_norm": 4.0,
                               "num_train_epochs": 2, "max_length": 120}},
    "C": {"model": "gpt2", "rows": 96, "settings": PLAIN | {"max_length": 192}},
    "D": {"model": "stories260k", "rows": None, "settings": PLAIN},
    "S": {"model": "stories260k", "rows": 24, "held_out": 8, "settings": SYNC},
    "T": {"model": "llama-tied", "rows": 24, "held_out": 8, "settings": SYNC | {"learning_rate": 1e-3}},
    "L": {"model": "stories260k", "rows": 64, "settings": PLAIN | {"learning_rate": 5e-4}, "lora": LORA},
    "M": {"model": "tiny", "rows": 48,
          "settings": PLAIN | {"learning_rate": 1e-3, "max_length": 128}, "lora": LORA},
    "N": {"model": "tiny", "rows": 48,
          "settings": PLAIN | {"learning_rate": 1e-3, "max_length": 128, "weight_decay": 0.1},
          "lora": {"lora-r": 4, "lora-alpha": 6, "use-rslora": None,
                   "lora-target-modules": "c_attn,mlp.c_proj", "lora-rank-pattern": "h.1.attn.c_attn=2,c_proj=5",
                   "lora-alpha-pattern": "c_proj=3", "lora-modules-to-save": "wpe,ln_f"}},
}
TINY = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 640, "n_layer": 2, "n_embd": 32,
        "n_head": 4, "n_inner": 64, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
        "attn_pdrop": 0.0}
STORY = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "story"
# "repeat": {number of a row, from 0: how many times its prompt is said}
FILES = {"stories260k": ("stories-train.jsonl", "stories-heldout.jsonl"),
         "gpt2": ("pandalm-train.jsonl", "pandalm-heldout.jsonl")}
OPTION = {"per_device_train_batch_size": "batch-size"}
OMIT = {"eval_strategy"}
STREAM = {"format": 1, "kind": "pairs", "stages": [], "columns": [
    ["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"], ["rejected", "i32[]"]]}


def make_rows(case, source):
    """The lines of a case's training file, made from the lines of the asset."""
    lines = source.read_text(encoding="utf-8").splitlines()[:case["rows"]]
    for number, times in case.get("repeat", {}).items():
        row = json.loads(lines[number])
        row["prompt"] = " ".join([row["prompt"]] * times)
        lines[number] = json.dumps(row, ensure_ascii=False)
    return "".join(line + "\n" for line in lines)


def make_id_rows(name, count):
    """Rows of token ids for the tiny models, answers of 1 to 10 tokens ending in </s>, drawn from the name."""
    vocab = make_random.TIED["vocab_size"]
    for number in range(count):
        draw = hashlib.shake_128(f"{name} {number}".encode()).digest(40)
        ids = [2 + byte % (vocab - 2) for byte in draw]
        lengths = [1 + ids[30] % 10, ids[31] % 10, ids[32] % 10]
        yield {"prompt": ids[:lengths[0]], "chosen": ids[10:10 + lengths[1]] + [1],
               "rejected": ids[20:20 + lengths[2]] + [1]}


def make_tiny_inputs(case, out):
    """The inputs of a case that needs no assets."""
    make_random.make(case["model"], out / "model")
    for name, count in (("train", case["rows"]), ("eval", case["held_out"])):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in make_id_rows(name, count)))


def print_stream(path):
    print(json.dumps({"header": STREAM}))
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        print(json.dumps({"id": str(number)} | json.loads(line)))
    print('{"end":true}')


def make_tiny(out):
    """A GPT-2 whose weights come from their names (make_random.py), with the story tokenizer."""
    out.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(STORY / file, out / file)
    (out / "config.json").write_text(json.dumps(TINY, indent=2) + "\n")
    tensors.write(out / "model.safetensors",
                  list(make_random.draw(make_random.gpt2_plan(TINY), make_random.DEVIATION, "tiny/")))


def make_inputs(name, assets, out):
    """Write the model directory and the JSON Lines files of a case into the directory `out`."""
    case, assets, out = CASES[name], pathlib.Path(assets), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if name == "T":
        make_tiny_inputs(case, out)
        return
    if case["model"] == "tiny":
        make_tiny(out / "model")
        (out / "train.jsonl").write_text(make_rows(case, STORY / "train.jsonl"), encoding="utf-8")
        return
    if case["model"] == "gpt2":
        make_gpt2.make(assets / "tokenizers" / "gpt2", out / "model")
    else:
        (out / "model").mkdir()
        for file in (assets / "models" / case["model"]).iterdir():
            shutil.copyfile(file, out / "model" / file.name)
    train, heldout = FILES[case["model"]]
    (out / "train.jsonl").write_text(make_rows(case, assets / "prefs" / train), encoding="utf-8")
    if name in ("D", "S"):
        lines = (assets / "prefs" / heldout).read_text(encoding="utf-8").splitlines(keepends=True)
        (out / "eval.jsonl").write_text("".join(lines[:case.get("held_out")]), encoding="utf-8")


def arguments(name):
    """The arguments of dpo-tok and of dpo-train that make the run of a case."""
    settings = dict(CASES[name]["settings"])
    tok = ["--max-length", str(settings.pop("max_length"))]
    train = ["--order", "sequential", "--logging-steps", "1"]
    for key, value in settings.items():
        if key not in OMIT:
            train += ["--" + OPTION.get(key, key.replace("_", "-"))] + [str(value)] * (value is not True)
    for key, value in CASES[name].get("lora", {}).items():
        train += ["--" + key] if value is None else ["--" + key, str(value)]
    return tok, train


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--stream":
        print_stream(sys.argv[2])
        return
    if len(sys.argv) < 3 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    if sys.argv[2] == "--arguments":
        for line in arguments(sys.argv[1]):
            print(*line)
    elif len(sys.argv) == 4:
        make_inputs(*sys.argv[1:4])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
