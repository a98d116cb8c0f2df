#!/usr/bin/env python3
"""GGUF files run by llama.cpp, as the xllamacpp package carries it, beside our own numbers.

    gguf_engine.py families TOKENIZER          # every model of ../gguf_models.py with that tokenizer
    gguf_engine.py tokenizers ASSETS [SHAPE...]  # every shape of ../tokenizer_shapes.py, and testdata/tokenizers' two models
    gguf_engine.py model MODEL [PROMPT...]     # any model directory

For a model: at each of our 40 greedy tokens after each prompt, does llama.cpp take the same, and the largest difference of their
log-probs. For a tokenizer: how many of the 47 texts of ASSETS/vectors, and of 300 generated ones, have other ids. $DPO_BIN holds
the programs. llama.cpp computes with float KV cache, without flash attention, in one thread.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import xllamacpp

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import gguf_models
import ids_digest
import make_random
import tokenizer_shapes
import tokenizer_texts

BIN = pathlib.Path(os.environ.get("DPO_BIN", HERE.parent.parent / "bin"))
PROMPTS = ("Once upon a time, Tom", "A", "Lily was sad because her dog ran away and did not come back for many days, so she cried")
TOKENS, GENERATED = 40, 300


def ours(program, *arguments, text=""):
    return subprocess.run([BIN / program, "-q", *arguments], input=text, check=True, stdout=subprocess.PIPE, text=True).stdout


def export(model, file):
    subprocess.run([BIN / "dpo-export", "-q", "-f", "gguf", "-o", file, model], check=True)


def engine(path, context):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.warmup = str(path), context, 0, False
    params.n_parallel, params.cpuparams.n_threads, params.verbosity = 1, 1, -1
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(params)


# ---------------------------------------------------------------- log-probs

def next_token(server, ids):
    """llama.cpp's greedy token and its log-prob; nothing for a token that is a part of a character."""
    answer = server.handle_completions({"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 1, "cache_prompt": False})
    content = (answer["choices"][0]["logprobs"] or {"content": []})["content"]
    return (content[0]["id"], content[0]["logprob"]) if content else None


def compare_model(name, model, scratch, prompts):
    """Whether all tokens are the same; prints what was found."""
    file, seen, other, worst = scratch / f"{name}.gguf", 0, 0, 0.0
    export(model, file)
    config = json.loads((model / "config.json").read_text())
    # longrope: llama.cpp goes by the context, not by the length of the text.
    context = config.get("original_max_position_embeddings", 0) if "longrope" in json.dumps(config) else 0
    server = engine(file, context or 256)
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    for line in ours("dpo-gen", "-m", model, "--temperature", "0", "--max-new-tokens", str(TOKENS), text=rows).splitlines():
        row = json.loads(line)
        for at, (token, logp) in enumerate(zip(row["completion_ids"], row["logps"])):
            ids = row["prompt_ids"] + row["completion_ids"][:at]
            found = next_token(server, ids) if not context or len(ids) < context else None
            if found:
                seen, other = seen + 1, other + (found[0] != token)
                worst = max(worst, abs(found[1] - logp)) if found[0] == token else worst
    print(f"{name}: {seen - other} of {seen} greedy tokens the same, log-probs differ by at most {worst:.2g}", flush=True)
    return seen > 0 and other == 0


def families(tokenizer, scratch):
    for name in gguf_models.MODELS:
        gguf_models.write(name, tokenizer, scratch / name)
        yield compare_model(name, scratch / name, scratch, PROMPTS)


# ---------------------------------------------------------------- token ids

def tokenize(server, text):
    request = urllib.request.Request(server.listening_address + "/tokenize", json.dumps(
        {"content": text, "add_special": True, "parse_special": True}).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["tokens"]


def our_ids(model, texts):
    """With EOS behind it, as dpo-tok takes an answer, and BOS in front where the tokenizer puts it."""
    rows = "".join(json.dumps({"prompt": "", "completion": text}) + "\n" for text in texts)
    packed = subprocess.run([BIN / "dpo-tok", "-q", "--max-length", "0", "-m", model], input=rows.encode(), check=True,
                            stdout=subprocess.PIPE).stdout
    lines = subprocess.run([BIN / "dpo-cat"], input=packed, check=True, stdout=subprocess.PIPE).stdout.splitlines()[1:-1]
    return [ids_digest.numbers(row["prompt"]) + ids_digest.numbers(row["chosen"]) for row in map(json.loads, lines)]


def compare_tokenizer(name, files, texts, scratch):
    model = scratch / name
    config = make_random.PLAIN | {"vocab_size": 160000 if "qwen2" in name else 52000}
    del config["bos_token_id"], config["eos_token_id"]
    make_random.MODELS[name] = (config, "tokenizers", "F32", 1)
    make_random.make(name, model)
    tokenizer_shapes.write_files(files, model)
    try:
        export(model, scratch / f"{name}.gguf")
    except subprocess.CalledProcessError:
        return True  # refused, and said so
    server = engine(scratch / f"{name}.gguf", 256)
    wanted = our_ids(model, [text for some in texts for text in some])
    eos = json.loads((model / "tokenizer_config.json").read_text())["eos_token"]
    eos = eos if isinstance(eos, str) else eos["content"]
    found = [tokenize(server, text if text.endswith(eos) else text + eos) for some in texts for text in some]
    wrong = [a != b for a, b in zip(wanted, found, strict=True)]
    print(f"{name}: other ids for {sum(wrong[:len(texts[0])])} of {len(texts[0])} texts, {sum(wrong[len(texts[0]):])} of "
          f"{len(texts[1])} generated", flush=True)
    for text, a, b in zip([text for some in texts for text in some], wanted, found):
        if a != b and os.environ.get("SHOW"):
            print(f"    {ascii(text)[:100]}\n    ours {a[:20]}\n    engine {b[:20]}")
    return not any(wrong[:len(texts[0])])


def tokenizers(assets, names, scratch):
    vectors = (pathlib.Path(assets) / "vectors" / "ggml-vocab-gpt-2.gguf.inp").read_text(encoding="utf-8")
    texts = ([text for text in vectors.split("\n__ggml_vocab_test__\n") if text], list(tokenizer_texts.texts(GENERATED)))
    for name in names or tokenizer_shapes.SHAPES:
        if name in tokenizer_shapes.SHAPES:
            yield compare_tokenizer(name, tokenizer_shapes.SHAPES[name](tokenizer_shapes.Assets(assets)), texts, scratch)
    for path in (HERE.parent.parent / "testdata" / "tokenizers").glob("*.model"):
        if not names or path.stem in names:
            yield compare_tokenizer(path.stem, {"tokenizer.model": path.read_bytes(), "tokenizer_config.json": {"eos_token": "</s>"}},
                                    texts, scratch)


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("families", "tokenizers", "model"):
        sys.exit(__doc__)
    verb, path, more = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        if verb == "families":
            good = list(families(pathlib.Path(path), scratch))
        elif verb == "tokenizers":
            good = list(tokenizers(path, more, scratch))
        else:
            good = [compare_model("model", pathlib.Path(path), scratch, more or PROMPTS)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
