#!/usr/bin/env bats
# dpo-tok against the published vectors of llama.cpp and transformers.js: texts with the ids they must have.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin}
	export assets=${DPO_SHARED:-$root/../shared}/assets
}

need() { # an asset, or skip by name
	[ -e "$assets/$1" ] || skip "no asset $1"
}

# Each text becomes a supervised row without a prompt, so that its ids are the completion's less the EOS.
cat_ids() { # TOKENIZER: rows on standard input to one line of ids each
	"$bin/dpo-tok" -q --max-length 0 -m "$assets/$1" | "$bin/dpo-cat" | sed '1d;$d' |
		python3 -c 'import json, sys
for line in sys.stdin:
    print(*json.loads(line)["chosen"][:-1])'
}

vectors() { # NAME TOKENIZER
	need "vectors/ggml-vocab-$1.gguf.inp"
	need "$2"
	cd "$BATS_TEST_TMPDIR"
	python3 - "$assets/vectors/ggml-vocab-$1.gguf" > rows.jsonl <<-'END'
	import json, sys
	with open(sys.argv[1] + ".inp", encoding="utf-8", newline="") as file:
	    for text in file.read().removesuffix("\n__ggml_vocab_test__\n").split("\n__ggml_vocab_test__\n"):
	        print(json.dumps({"prompt": "", "completion": text}))
	END
	[ "$(wc -l < rows.jsonl)" -ge 46 ]
	cat_ids "$2" < rows.jsonl > got
	sed 's/^ *//' "$assets/vectors/ggml-vocab-$1.gguf.out" | diff - got
}

@test "GPT-2: the texts of llama.cpp" {
	vectors gpt-2 tokenizers/gpt2
}

@test "Qwen2, from vocab.json and merges.txt: the texts of llama.cpp" {
	vectors qwen2 tokenizers/qwen2
}

@test "GPT-2 and Qwen2: the texts of transformers.js" {
	need vectors/transformersjs/gpt2.json
	cd "$BATS_TEST_TMPDIR"
	cases() { # FILE NAME: texts as rows, ids as lines
		python3 - "$assets/vectors/transformersjs/$1" "$2" <<-'END'
		import json, sys
		cases = json.load(open(sys.argv[1], encoding="utf-8"))[sys.argv[2]]
		# A text with U+0000 is refused as a row, as tok.bats shows.
		cases = [case for case in cases.values() if isinstance(case.get("text"), str) and "\0" not in case["text"]]
		with open("rows.jsonl", "w") as rows, open("wanted", "w") as wanted:
		    for case in cases:
		        print(json.dumps({"prompt": "", "completion": case["text"]}), file=rows)
		        print(*case["ids"], file=wanted)
		END
	}
	cases gpt2.json Xenova/gpt2
	[ "$(wc -l < rows.jsonl)" -ge 20 ]
	cat_ids tokenizers/gpt2 < rows.jsonl | diff wanted -
	cases qwen2.json Xenova/Qwen1.5-0.5B-Chat
	[ "$(wc -l < rows.jsonl)" -ge 20 ]
	cat_ids tokenizers/qwen2 < rows.jsonl | diff wanted -
}
