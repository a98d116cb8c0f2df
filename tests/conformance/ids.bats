#!/usr/bin/env bats
# dpo-tok against the published vectors of llama.cpp and transformers.js: texts with the ids they must have; and against the
# digests of Hugging Face's tokenizers and SentencePiece on 10,000 generated texts for each shape of tokenizer.

setup_file() {
	export root="$BATS_TEST_DIRNAME/../.."
	export DPO_BIN=${DPO_BIN:-$root/bin}
	export assets=${DPO_SHARED:-$root/../shared}/assets
}

need() { # assets, or skip by name
	local asset
	for asset; do
		[ -e "$assets/$asset" ] || skip "no asset $asset"
	done
}

shape() { # NAME: the tokenizer's directory
	python3 "$root/tests/tokenizer_shapes.py" "$assets" "$1" "$1"
}

# Each text becomes a supervised row without a prompt, so that its ids are the completion's less the EOS.
cat_ids() { # DIRECTORY: rows on standard input to one line of ids each
	"$DPO_BIN/dpo-tok" -q --max-length 0 -m "$1" | "$DPO_BIN/dpo-cat" | sed '1d;$d' |
		python3 -c 'import json, sys
for line in sys.stdin:
    print(*json.loads(line)["chosen"][:-1])'
}

vectors() { # NAME SHAPE
	need "vectors/ggml-vocab-$1.gguf.inp"
	cd "$BATS_TEST_TMPDIR"
	shape "$2"
	python3 - "$assets/vectors/ggml-vocab-$1.gguf" > rows.jsonl <<-'END'
	import json, sys
	with open(sys.argv[1] + ".inp", encoding="utf-8", newline="") as file:
	    for text in file.read().removesuffix("\n__ggml_vocab_test__\n").split("\n__ggml_vocab_test__\n"):
	        print(json.dumps({"prompt": "", "completion": text}))
	END
	[ "$(wc -l < rows.jsonl)" -eq "$(wc -l < "$assets/vectors/ggml-vocab-$1.gguf.out")" ]
	[ "$(wc -l < rows.jsonl)" -ge 46 ]
	cat_ids "$2" < rows.jsonl > got
	sed 's/^ *//' "$assets/vectors/ggml-vocab-$1.gguf.out" | diff - got
}

@test "GPT-2: the texts of llama.cpp" {
	need tokenizers/gpt2
	vectors gpt-2 gpt2
}

@test "GPT-2, from vocab.json and merges.txt with CR LF: the texts of llama.cpp" {
	need tokenizers/gpt2
	vectors gpt-2 gpt2-files
}

@test "Llama: the texts of llama.cpp" {
	need vectors/ggml-vocab-llama-spm.gguf
	vectors llama-spm llama
}

@test "Llama, from a lone tokenizer.model: the texts of llama.cpp" {
	need vectors/ggml-vocab-llama-spm.gguf
	vectors llama-spm llama-model
}

@test "Phi-3: the texts of llama.cpp" {
	need vectors/ggml-vocab-phi-3.gguf
	vectors phi-3 phi3
}

@test "Qwen2, from vocab.json and merges.txt: the texts of llama.cpp" {
	need tokenizers/qwen2
	vectors qwen2 qwen2
}

@test "StarCoder: the texts of llama.cpp" {
	need vectors/ggml-vocab-starcoder.gguf
	vectors starcoder starcoder
}

# transformers.js FILE MODEL SHAPE, with its BOS taken away: ids of every case, the text decoded of a plain one.
published() {
	need "vectors/transformersjs/$1"
	cd "$BATS_TEST_TMPDIR"
	shape "$3"
	python3 - "$assets/vectors/transformersjs/$1" "$2" "$DPO_BIN/tests/token_ids" "$3" <<-'END'
	import json, subprocess, sys
	path, model, tool, folder = sys.argv[1:]
	cases = [case for case in json.load(open(path, encoding="utf-8"))[model].values() if isinstance(case.get("text"), str)]
	assert len(cases) >= 20
	def clean(text):	# clean_up_tokenization_spaces, which some published texts had
	    for mark in ".", "?", "!", ",", "'":
	        text = text.replace(" " + mark, mark)
	    return text
	for case in cases:
	    run = subprocess.run([tool, folder], input=case["text"].encode(), stdout=subprocess.PIPE, check=True)
	    ids, text = run.stdout.split(b"\n", 1)
	    found = [int(word) for word in ids.split()]
	    assert found == case["ids"], (case["text"], found, case["ids"])
	    assert case["decoded"] in (text[:-1].decode(), clean(text[:-1].decode())), (text, case["decoded"])
	print(len(cases), "cases")
	END
}

@test "GPT-2: the texts of transformers.js" {
	need tokenizers/gpt2
	published gpt2.json Xenova/gpt2 gpt2
}

@test "Llama: the texts of transformers.js" {
	need vectors/ggml-vocab-llama-spm.gguf
	published llama.json Xenova/llama-tokenizer llama
}

@test "Qwen2: the texts of transformers.js" {
	need tokenizers/qwen2
	published qwen2.json Xenova/Qwen1.5-0.5B-Chat qwen2
}

@test "every shape of tokenizer has the ids of Hugging Face's tokenizers or SentencePiece on 10,000 texts" {
	need tokenizers/gpt2 tokenizers/qwen2 models/stories260k vectors/ggml-vocab-llama-spm.gguf vectors/ggml-vocab-phi-3.gguf \
		vectors/ggml-vocab-starcoder.gguf
	python3 "$root/tests/tokenizer_check.py" --assets "$assets" "$root/testdata/golden/tokenizers/shapes.json"
}
