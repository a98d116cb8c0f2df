#!/usr/bin/env python3
"""The token ids of preference pairs, from Hugging Face's tokenizers and TRL's rules.

    ids.py make MODEL FILE.jsonl [--max-length N]          reference ids as JSON Lines
    ids.py compare REFERENCE.jsonl OURS.jsonl              OURS is dpo-cat's output
    ids.py trl MODEL FILE.jsonl [--max-length N]           is what DPOTrainer makes the same?
    ids.py golden ASSETS GPT2_MODEL                        testdata/golden/trl/ids.json

MODEL is a directory with tokenizer.json and tokenizer_config.json; tokenizer.json is read literally
by the tokenizers library. The rules: a row without a prompt is split at the first character that
differs; EOS is appended as text unless the text ends with it; prompt, prompt+chosen and
prompt+rejected are encoded as three whole texts; the prompt ends where its ids stop being a prefix
of both others. --max-length drops rows whose prompt alone reaches it and cuts the answers of others;
without it nothing is cut.
"""
import argparse
import json
import os
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))
import ids_digest

COLUMNS = ("prompt", "chosen", "rejected")


def split_texts(chosen, rejected):
    """Prompt and answers of two whole texts, as TRL splits them: where one text begins with the
    other, the last character of the shorter counts as differing; a space just before the
    difference goes to the answers."""
    shorter = min(len(chosen), len(rejected))
    at = next((i for i in range(shorter) if chosen[i] != rejected[i]), None)
    if at is None:
        at = shorter - 1
    elif chosen[at - 1] == " ":
        at -= 1
    return chosen[:at], chosen[at:], rejected[at:]


def common_prefix(a, b):
    """How many leading elements a and b share."""
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return same


class Encoder:
    """tokenizer.json of a model directory, and the EOS text of its tokenizer_config.json."""

    def __init__(self, model):
        from tokenizers import Tokenizer
        directory = pathlib.Path(model)
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        eos = json.loads((directory / "tokenizer_config.json").read_text())["eos_token"]
        self.eos = eos["content"] if isinstance(eos, dict) else eos

    def ids(self, text):
        return self.tokenizer.encode(text).ids

    def ended(self, text):
        return text if text.endswith(self.eos) else text + self.eos

    def pair(self, row, max_length=None):
        """{prompt, chosen, rejected} of a row, or None if max_length drops it."""
        if "prompt" in row:
            prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
        else:
            prompt, chosen, rejected = split_texts(row["chosen"], row["rejected"])
        alone = self.ids(prompt)
        whole = [self.ids(prompt + self.ended(answer)) for answer in (chosen, rejected)]
        end = min(common_prefix(alone, each) for each in whole)
        if max_length is not None and end >= max_length:
            return None
        return dict(zip(COLUMNS, (alone[:end], *(each[end:max_length] for each in whole))))


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def reference(model, path, max_length):
    """The pairs of a file, each with its id: the row's own or its number."""
    encoder = Encoder(model)
    for number, row in enumerate(read_rows(path)):
        pair = encoder.pair(row, max_length)
        if pair is not None:
            yield {"id": str(row.get("id", number))} | pair


def compare(theirs, ours):
    """What differs between two lists of pairs, in words."""
    ours = [row for row in ours if "prompt" in row]
    if len(ours) != len(theirs):
        yield f"{len(ours)} rows, not {len(theirs)}"
    for number, (one, other) in enumerate(zip(theirs, ours)):
        for name in COLUMNS:
            found, wanted = ids_digest.numbers(other[name]), one[name]
            if found != wanted:
                at = common_prefix(found, wanted)
                yield (f"row {number} (id {one['id']}): {name} differs at {at}: "
                       f"{found[at:at + 8]}, not {wanted[at:at + 8]}")


def trl_pairs(model, path, max_length):
    """The pairs as DPOTrainer's dataset and collator make them; its model is a tiny random one."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    import datasets
    import tempfile
    import transformers
    import trl
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = [{name: row[name] for name in COLUMNS if name in row} for row in read_rows(path)]
    with tempfile.TemporaryDirectory() as scratch:
        transformers.GPT2LMHeadModel(transformers.GPT2Config(
            n_layer=1, n_embd=4, n_head=1, vocab_size=len(tokenizer))).save_pretrained(scratch)
        trainer = trl.DPOTrainer(
            model=scratch, processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
            args=trl.DPOConfig(output_dir=scratch, max_length=max_length, bf16=False, use_cpu=True,
                               report_to="none", disable_tqdm=True, gradient_checkpointing=False))
        for example in trainer.train_dataset:
            batch = trainer.data_collator([example])
            length = batch["attention_mask"].sum(1).tolist()
            start = (batch["attention_mask"] - batch["completion_mask"]).sum(1).tolist()
            ids = [row[:n] for row, n in zip(batch["input_ids"].tolist(), length)]
            assert ids[0][:start[0]] == ids[1][:start[1]]
            yield {"prompt": ids[0][:start[0]], "chosen": ids[0][start[0]:], "rejected": ids[1][start[1]:]}


def golden(assets, gpt2):
    """The digests of the preference files, whole and with a max_length that drops and cuts."""
    story = pathlib.Path(assets) / "models" / "stories260k"
    for name, model in (("pandalm-train", gpt2), ("stories-train", story), ("hh-harmless", gpt2)):
        path = pathlib.Path(assets) / "prefs" / f"{name}.jsonl"
        for label, length in (("", None), ("-128", 128)):
            rows = (json.dumps(row) for row in reference(model, path, length))
            yield name + label, ids_digest.make(rows)


def write_rows(rows):
    for row in rows:
        print(json.dumps(row, ensure_ascii=False, separators=(",", ":")))


def tell(differing, rows):
    """Print what differs; exit 1 if anything does."""
    count = 0
    for count, text in enumerate(differing, 1):
        print(text)
    if count:
        sys.exit(1)
    print(f"{rows} rows, same ids")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("make", "compare", "trl", "golden"))
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--max-length", type=int)
    given = parser.parse_args()
    if given.verb == "golden":
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}"
                 for name, entry in golden(given.first, given.second)]
        print("{\n" + ",\n".join(lines) + "\n}")
        return
    if given.verb == "compare":
        theirs = read_rows(given.first)
        tell(compare(theirs, read_rows(given.second)), len(theirs))
        return
    theirs = list(reference(given.first, given.second, given.max_length))
    if given.verb == "make":
        write_rows(theirs)
    else:
        tell(compare(theirs, list(trl_pairs(given.first, given.second, given.max_length))), len(theirs))


if __name__ == "__main__":
    main()
