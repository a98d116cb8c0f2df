#!/usr/bin/env python3
"""Write tiny random models as transformers saves them, each with a small byte-level tokenizer.

    make_tiny.py OUT

OUT/NAME for each NAME of MODELS: all families, tied and untied heads, grouped-query attention, F32,
F16 and BF16, one file and shards with an index; gpt2-hub has the tensor names of the first published
GPT-2 (no "transformer." and the masks stored beside the weights). Weights are large for their size,
and norms and biases random, so that a wrong scale, mask or bias shows in every number.
"""
import json
import os
import pathlib
import sys

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCAB, POSITIONS, SHARD = 300, 128, "40KB"
TEXT = ["The kettle sang while the rain drew lines on the window.",
        "A small boat crossed the bay, and the gulls went with it.",
        "She counted the stones: one, two, three, and then she lost count.",
        "When the wind turned, the boat turned with the wind."]

GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": POSITIONS}
LLAMA = {"num_hidden_layers": 2, "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6,
         "num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "rope_theta": 10000.0}
NEOX = {"num_hidden_layers": 2, "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS, "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 16,
        "short_factor": [1.0, 1.25, 1.5, 2.0], "long_factor": [1.0, 2.0, 4.0, 8.0]}
# name: (configuration, dtype, sharded); the name begins with the model_type, before a hyphen
MODELS = {
    "gpt_neox": (NEOX, "float32", False),
    "gpt_neox-serial-f16": (NEOX | {"use_parallel_residual": False, "attention_bias": False}, "float16", True),
    "mistral": (LLAMA | {"sliding_window": 8}, "float32", False),
    "qwen2": (LLAMA | {"tie_word_embeddings": True}, "float32", False),
    "qwen2-window": (LLAMA | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
                     "bfloat16", False),
    "qwen3": (LLAMA | {"head_dim": 16}, "float32", False),
    "phi3": (LLAMA | {"pad_token_id": None, "sliding_window": 8}, "float32", False),
    "phi3-long": (LLAMA | {"pad_token_id": None, "original_max_position_embeddings": 16,
                           "rope_parameters": LONG}, "float32", True),
    "gemma2": (LLAMA | {"head_dim": 12, "sliding_window": 8, "query_pre_attn_scalar": 10,
                        "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0}, "float32", False),
    "olmo2": (LLAMA | {"pad_token_id": None}, "float32", False),
    "gpt2": (GPT2, "float32", False),
    "gpt2-f16": (GPT2, "float16", False),
    "gpt2-bf16": (GPT2, "bfloat16", False),
    "gpt2-sharded": (GPT2, "float32", True),
    "llama": (LLAMA | {"tie_word_embeddings": False}, "float32", False),
    "llama-tied": (LLAMA | {"tie_word_embeddings": True}, "float32", False),
    "llama-f16": (LLAMA | {"tie_word_embeddings": False}, "float16", False),
    "llama-bf16-sharded": (LLAMA | {"tie_word_embeddings": False}, "bfloat16", True),
    "llama-one-kv": (LLAMA | {"tie_word_embeddings": True, "num_key_value_heads": 1}, "float32", False),
    "llama-head-dim": (LLAMA | {"tie_word_embeddings": False, "head_dim": 12}, "float32", False),
    "llama-bias": (LLAMA | {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
                   "float32", False),
}


def tokenizer(begin):
    """A byte-level BPE of 300 entries learned from TEXT; `begin` puts <s> before each text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if bpe.get_vocab_size() != VOCAB:
        sys.exit(f"the tokenizer has {bpe.get_vocab_size()} entries")
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    if begin:
        bpe.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", model_max_length=POSITIONS)


def random_weights(model, seed):
    """Normal weights of deviation 0.2 around 1 for the gains of norms and around 0 elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = name.endswith("weight") and parameter.dim() == 1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + gain)


def write(name, seed, out):
    settings, dtype, sharded = MODELS[name]
    settings = {key: value for key, value in settings.items()
                if key != "rope_theta" or "rope_parameters" not in settings}
    config = transformers.AutoConfig.for_model(
        name.split("-")[0], vocab_size=VOCAB, bos_token_id=0, eos_token_id=1, **settings)
    model = transformers.AutoModelForCausalLM.from_config(config)
    random_weights(model, seed)
    model.to(getattr(torch, dtype)).save_pretrained(out / name, max_shard_size=SHARD if sharded else "1GB")
    tokenizer(begin=not name.startswith("gpt2")).save_pretrained(out / name)
    if sharded != (out / name / "model.safetensors.index.json").exists():
        sys.exit(f"{name}: sharded is not {sharded}")


def write_hub(source, out):
    """A copy of a GPT-2 directory with the first published names."""
    out.mkdir()
    for file in source.iterdir():
        if file.suffix == ".json":
            (out / file.name).write_bytes(file.read_bytes())
    weights = {name.removeprefix("transformer."): tensor
               for name, tensor in load_file(source / "model.safetensors").items()}
    for layer in range(GPT2["n_layer"]):
        weights[f"h.{layer}.attn.bias"] = torch.ones(POSITIONS, POSITIONS).tril()[None, None].contiguous()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True)
    transformers.logging.disable_progress_bar()
    for seed, name in enumerate(MODELS):
        write(name, seed, out)
    write_hub(out / "gpt2", out / "gpt2-hub")
    print(json.dumps(sorted(path.name for path in out.iterdir())))


if __name__ == "__main__":
    main()
