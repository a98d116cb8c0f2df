#!/usr/bin/env bats
# dpo-export -f gguf: every key and tensor, read by a reader of our own making in Python; and what cannot be written.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	story="$root/testdata/story"
	cd "$BATS_TEST_TMPDIR"
}

# A GPT-2 with the story's tokenizer and random weights, the largest $1.
make_gpt2() {
	mkdir -p gpt2
	cp "$story"/tokenizer*.json gpt2
	python3 - "$1" <<-'END'
	import json, random, struct, sys
	random.seed(5)
	n, shapes = 8, {"wte.weight": [640, 8], "wpe.weight": [16, 8]}
	for layer in range(2):
	    for name, shape in {"ln_1.weight": [n], "ln_1.bias": [n], "attn.c_attn.weight": [n, 24], "attn.c_attn.bias": [24],
	            "attn.c_proj.weight": [n, n], "attn.c_proj.bias": [n], "ln_2.weight": [n], "ln_2.bias": [n],
	            "mlp.c_fc.weight": [n, 32], "mlp.c_fc.bias": [32], "mlp.c_proj.weight": [32, n], "mlp.c_proj.bias": [n]}.items():
	        shapes[f"h.{layer}.{name}"] = shape
	shapes |= {"ln_f.weight": [n], "ln_f.bias": [n]}
	header, data = {}, b""
	for name, shape in shapes.items():
	    count = shape[0] * (shape[1] if len(shape) == 2 else 1)
	    values = [random.uniform(-1, 1) for _ in range(count)]
	    if name == "h.1.mlp.c_fc.weight":
	        values[3] = float(sys.argv[1])
	    header["transformer." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
	    data += struct.pack(f"<{count}f", *values)
	text = json.dumps(header).encode()
	with open("gpt2/model.safetensors", "wb") as file:
	    file.write(struct.pack("<Q", len(text)) + text + data)
	with open("gpt2/config.json", "w") as file:
	    json.dump({"model_type": "gpt2", "vocab_size": 640, "n_embd": n, "n_layer": 2, "n_head": 2, "n_positions": 16}, file)
	END
}

@test "gguf: Llama with its Q and K in llama.cpp's order, GPT-2 transposed; F32, F16, BF16; file and pipe" {
	make_gpt2 65519
	for model in "$story" gpt2; do
		for dtype in f32 f16 bf16; do
			"$bin/dpo-export" -q -f gguf --dtype $dtype -o out.gguf "$model"
			python3 "$root/tests/gguf_check.py" "$model" out.gguf $dtype
			"$bin/dpo-export" -q -f gguf --dtype $dtype "$model" | cmp - out.gguf
		done
	done
}

@test "gguf: every family and rope scaling: names, order of rows, fused maps, norms, keys" {
	python3 "$root/tests/gguf_models.py" "$story" models
	for model in models/*; do
		for dtype in f32 bf16; do
			"$bin/dpo-export" -q -f gguf --dtype $dtype -o out.gguf "$model"
			python3 "$root/tests/gguf_check.py" "$model" out.gguf $dtype
		done
	done
}

# refused MODEL KEY VALUE MESSAGE: the model with this key of config.json
refused() {
	rm -rf changed
	cp -r "models/$1" changed
	python3 - "$2" "$3" <<-'END'
	import json, sys
	config = json.load(open("changed/config.json"))
	config[sys.argv[1]] = json.loads(sys.argv[2])
	json.dump(config, open("changed/config.json", "w"))
	END
	run "$bin/dpo-export" -f gguf -o out.gguf changed
	echo "$output"
	[ "$status" -eq 3 ]
	[[ "$output" == *"$4"* ]]
	[ ! -e out.gguf ]
}

@test "gguf: what llama.cpp computes otherwise is refused by name" {
	local llama3='{"rope_type":"llama3","factor":4,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":32}'
	python3 "$root/tests/gguf_models.py" "$story" models llama gemma2 qwen2 rope-yarn gpt2
	refused llama hidden_act '"gelu"' 'llama.cpp computes this family with another activation'
	refused llama rope_scaling '{"type":"dynamic","factor":2}' 'this rope scaling is not known to llama.cpp for model_type "llama"'
	refused gemma2 query_pre_attn_scalar 20 'llama.cpp takes 16 for "query_pre_attn_scalar", not 20'
	refused gemma2 final_logit_softcapping null 'llama.cpp always caps the logits of this family'
	refused gemma2 layer_types '["full_attention","sliding_attention","full_attention"]' 'a window on every other layer'
	refused gemma2 rope_scaling '{"type":"dynamic","factor":2}' 'this rope scaling is not known to llama.cpp for model_type "gemma2"'
	refused gemma2 rope_scaling "$llama3" 'this rope scaling is not known to llama.cpp for model_type "gemma2"'
	refused rope-yarn rope_parameters '{"rope_type":"yarn","factor":4,"beta_fast":16,"original_max_position_embeddings":32}' 'yarn with "beta_fast" 32'
}

@test "gguf: llama3 rope scaling up to heads of 512" {
	for size in 512 514; do
		PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/tests" python3 - "$story" $size <<-'END'
		import pathlib, sys
		import gguf_models as models
		size = int(sys.argv[2])
		models.MODELS["wide"] = models.MODELS["rope-llama3"] | {"head_dim": size, "num_attention_heads": 1, "num_key_value_heads": 1,
		                                                        "num_hidden_layers": 1}
		models.write("wide", pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
		END
		run "$bin/dpo-export" -q -f gguf -o $size.gguf $size
	done
	echo "$output"
	[ "$status" -eq 3 ]
	[[ "$output" == *"heads of more than 512"* ]]
	[ -e 512.gguf ]
	[ ! -e 514.gguf ]
}

@test "gguf: a lone tokenizer.model gives its pieces, scores and types; Unigram is t5 with its charsmap" {
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/tests/peers" python3 - <<-'END'
	import make_random
	config = {key: value for key, value in make_random.PLAIN.items() if "token_id" not in key} | {"vocab_size": 1500}
	make_random.MODELS["lone"] = (config, "lone", "F32", 1)
	make_random.make("lone", "lone")
	END
	for name in bpe unigram; do
		cp "$root/testdata/tokenizers/$name.model" lone/tokenizer.model
		echo '{"eos_token":"</s>"}' > lone/tokenizer_config.json
		"$bin/dpo-export" -q -f gguf -o out.gguf lone
		python3 - "$root/tests" $name <<-'END'
		import sys
		sys.path.insert(0, sys.argv[1])
		import gguf_check
		keys, _ = gguf_check.read("out.gguf")
		pieces = gguf_check.read_sentencepiece("lone/tokenizer.model")
		gguf_check.check_pieces(keys, pieces, 1500, "t5" if sys.argv[2] == "unigram" else "llama")
		END
	done
	cp "$root/testdata/tokenizers/unigram.model" lone/tokenizer.model
	python3 - "$root/tests" <<-'END'
	import sys
	sys.path.insert(0, sys.argv[1])
	import tokenizer_shapes
	pieces = [["<unk>", 0.0, 2], ["<s>", 0.0, 3], ["</s>", 0.0, 3], ["\u2581", -1.0, 1], ["a", -2.0, 1]]
	entries = {"tokenizer.ggml.tokens": [p[0] for p in pieces], "tokenizer.ggml.scores": [p[1] for p in pieces],
	           "tokenizer.ggml.token_type": [p[2] for p in pieces]}
	open("lone/tokenizer.model", "wb").write(tokenizer_shapes.sentencepiece(entries, remove_extra=True))
	END
	run "$bin/dpo-export" -f gguf -o refused.gguf lone
	echo "$output"
	[ "$status" -eq 3 ]
	[[ "$output" == *'tokenizer.model: llama.cpp has no bpe with remove_extra_whitespaces' ]]
}

@test "gguf: vocab.json and merges.txt, with CR LF, give the tokens and merges of tokenizer.json" {
	make_gpt2 1
	"$bin/dpo-export" -q -f gguf -o wanted.gguf gpt2
	python3 - <<-'END'
	import json
	tokenizer = json.load(open("gpt2/tokenizer.json"))
	vocab = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
	json.dump(vocab, open("gpt2/vocab.json", "w"))
	merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
	open("gpt2/merges.txt", "w", newline="").write("#version: 0.2\r\n" + "\r\n".join(merges) + "\r\n")
	json.dump({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}, open("gpt2/tokenizer_config.json", "w"))
	END
	rm gpt2/tokenizer.json
	"$bin/dpo-export" -q -f gguf -o out.gguf gpt2
	python3 - "$root/tests" <<-'END'
	import sys
	sys.path.insert(0, sys.argv[1])
	import gguf_check
	(keys, tensors), (other, others) = gguf_check.read("out.gguf"), gguf_check.read("wanted.gguf")
	for key in ("tokens", "token_type", "merges", "pre", "model", "eos_token_id"):
	    assert keys[f"tokenizer.ggml.{key}"] == other[f"tokenizer.ggml.{key}"], key
	assert tensors == others
	END
}

@test "gguf: the Modelfile names the file beside it" {
	mkdir out
	"$bin/dpo-export" -q -f gguf --modelfile -o out/story.gguf "$story"
	printf 'FROM ./story.gguf\nPARAMETER num_ctx 256\n' | diff - out/Modelfile
	"$bin/dpo-export" -q -f gguf --modelfile -o out/story.gguf "$story"
	run "$bin/dpo-export" --modelfile -o hf "$story"
	[ "$status" -eq 2 ]
	run "$bin/dpo-export" -f gguf --modelfile "$story"
	[ "$status" -eq 2 ]
}

@test "gguf: no Modelfile in place of the model, of an input, or of another without --force" {
	refused() { # TEXT ARGUMENT...
		run "$bin/dpo-export" -q -f gguf --modelfile "${@:2}"
		echo "$output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"$1"* ]]
	}
	mkdir out policy
	refused "out/Modelfile: is named for two outputs" -o out/Modelfile "$story"
	refused "Modelfile: is named for two outputs" -o Modelfile "$story"
	[ -z "$(ls -A out)" ]
	cp "$story/config.json" policy/Modelfile
	refused "policy/Modelfile: is an input" -o policy/story.gguf policy/Modelfile
	cmp policy/Modelfile "$story/config.json"
	printf 'FROM ./other.gguf\nSYSTEM Tell sad stories.\n' > out/Modelfile
	cp out/Modelfile mine
	refused "out/Modelfile: exists with other contents; --force replaces it" -o out/story.gguf "$story"
	cmp mine out/Modelfile
	[ ! -e out/story.gguf ]
	"$bin/dpo-export" -q -f gguf --modelfile --force -o out/story.gguf "$story"
	grep -qx 'FROM ./story.gguf' out/Modelfile
}

@test "a number beyond F16 is refused by name, in every format; BF16 takes it" {
	make_gpt2 65520
	for format in gguf safetensors hf; do
		run "$bin/dpo-export" -f $format --dtype f16 -o out gpt2
		echo "$output"
		[ "$status" -eq 3 ]
		[ "$output" = 'dpo-export: tensor "transformer.h.1.mlp.c_fc.weight": holds 65520, beyond the range of F16; take BF16 or F32' ]
		[ "$(ls -A)" = gpt2 ]
		"$bin/dpo-export" -q -f $format --dtype bf16 -o out gpt2
		rm -r out
	done
}

@test "gguf: the tokenizers of Pythia and Qwen, which normalize by NFC, are named as llama.cpp knows them" {
	make_gpt2 1
	for kind in gpt-2 qwen2; do
		python3 - $kind <<-'END'
		import json, sys
		tree = json.load(open("gpt2/tokenizer.json"))
		tree["normalizer"] = {"type": "NFC"}
		tree["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
		if sys.argv[1] == "qwen2":
		    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
		    split = {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": False}
		    tree["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, tree["pre_tokenizer"] | {"use_regex": False}]}
		json.dump(tree, open("gpt2/tokenizer.json", "w"))
		END
		"$bin/dpo-export" -q -f gguf -o out.gguf gpt2
		grep -qaP "tokenizer\.ggml\.pre.{4}.{8}$kind" out.gguf
		rm out.gguf
	done
}

@test "gguf: a tokenizer that llama.cpp does not know, and tokens without an embedding, are refused" {
	make_gpt2 1
	python3 - <<-'END'
	import json
	tree = json.load(open("gpt2/tokenizer.json"))
	tree["pre_tokenizer"]["add_prefix_space"] = True
	json.dump(tree, open("gpt2/tokenizer.json", "w"))
	END
	run "$bin/dpo-export" -f gguf -o out gpt2
	[ "$status" -eq 3 ]
	[[ "$output" == *'llama.cpp has no pre-tokenizer that is known to do what this tokenizer does: "ByteLevel(prefix)"' ]]
	rm gpt2/tokenizer.json
	run "$bin/dpo-export" -f gguf -o out gpt2
	[ "$status" -eq 3 ]
	[ "$(ls -A)" = gpt2 ]
}
