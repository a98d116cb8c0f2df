#!/usr/bin/env bats
# dpo-gen: completions and distributions are transformers' (testdata/golden/generate), log-probs are dpo-reflogp's, and a
# sample does not depend on company.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} golden="$root/testdata/golden/generate" check="$root/tests/golden_generate.py"
	export story="$root/testdata/story" models="$BATS_FILE_TMPDIR/models" PYTHONDONTWRITEBYTECODE=1
	python3 "$root/tests/peers/make_random.py" "$models"
	cd "$BATS_FILE_TMPDIR"
	mkdir by-length	# these turn by the length, and generation ends where that begins
	mv models/phi3 models/rope-dynamic models/rope-longrope by-length
	head -12 "$story/heldout.jsonl" | python3 -c 'import json, sys
for n, line in enumerate(sys.stdin):
	print(json.dumps({"prompt": json.loads(line)["prompt"], "id": "row %d" % n}))' > prompts.jsonl
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	prompts="$BATS_FILE_TMPDIR/prompts.jsonl"
}

field() { # KEY: of each line, as JSON
	python3 -c 'import json, sys
for line in sys.stdin:
	print(json.dumps(json.loads(line)[sys.argv[1]]))' "$1"
}

@test "generation ends at the length from which rotary frequencies change" {
	echo '{"prompt":[5,6,7]}' | "$bin/dpo-gen" -q -m "$BATS_FILE_TMPDIR/by-length/phi3" -n 40 --max-new-tokens 100 > full # original length 20
	python3 -c 'import json
rows = [json.loads(line) for line in open("full")]
assert {len(row["completion_ids"]) for row in rows if row["finish_reason"] == "length"} == {17}'
}

@test "each model with random weights has its numbers" {
	for model in "$models"/*; do
		[ -s "$golden/$(basename "$model").json" ]
	done
}

@test "greedy, with and without a repetition penalty, is transformers' token by token: every random model" {
	for model in "$models"/*; do
		numbers="$golden/$(basename "$model").json"
		python3 "$check" prompts "$numbers" > prompts
		length="--max-new-tokens $(python3 "$check" option "$numbers" max_new_tokens)"
		"$bin/dpo-gen" -q -m "$model" --temperature 0 $length prompts > plain
		python3 "$check" greedy "$numbers" greedy < plain
		"$bin/dpo-gen" -q -m "$model" --temperature 0 $length --repetition-penalty "$(python3 "$check" option "$numbers" penalty)" \
			prompts > penalized
		python3 "$check" greedy "$numbers" penalized < penalized
	done
	run python3 "$check" greedy "$numbers" greedy < penalized
	[ "$status" -eq 1 ] # a difference is seen
}

@test "samples follow the distributions that transformers' logits processors make: chi-square" {
	for name in gpt2 llama-tied; do
		numbers="$golden/$name.json"
		python3 "$check" prompts "$numbers" | head -1 > prompt
		for i in $(seq 0 $(($(python3 "$check" distributions "$numbers") - 1))); do
			"$bin/dpo-gen" -q -m "$models/$name" $(python3 "$check" options "$numbers" $i) -n 10000 --batch-size 64 \
				--max-new-tokens 1 prompt > samples
			python3 "$check" frequencies "$numbers" $i < samples
		done
	done
	run python3 "$check" frequencies "$numbers" 0 < samples
	[ "$status" -eq 1 ] # another distribution is seen
}

@test "the same samples for any -j, --batch-size and order of rows, and alone" {
	options="--max-new-tokens 80 -n 3 --temperature 1.2 --top-p 0.95 --top-k 100"
	"$bin/dpo-gen" -q -m "$story" -j 1 --batch-size 1 $options "$prompts" > one
	[ "$(wc -l < one)" -eq 36 ]
	[ "$(field completion_ids < one | sort -u | wc -l)" -gt 18 ] # samples differ, and their lengths: others begin beside them
	[ "$(field completion_ids < one | awk -F, '{print NF}' | sort -u | wc -l)" -gt 9 ]
	for batch in 2 5 64; do
		for threads in 1 2 3; do
			"$bin/dpo-gen" -q -m "$story" -j $threads --batch-size $batch $options "$prompts" > many
			cmp one many
		done
	done
	tac "$prompts" | "$bin/dpo-gen" -q -m "$story" $options | sort > reversed
	sort one | cmp - reversed
	sed -n 5p "$prompts" | "$bin/dpo-gen" -q -m "$story" $options > alone
	sed -n 13,15p one | cmp - alone
	"$bin/dpo-gen" -q -m "$story" $options --seed 43 "$prompts" > other
	! cmp -s one other || return 1
}

@test "log-probs are within 1e-4 of dpo-reflogp's, the reference's to the bit; sums are sums" {
	"$bin/dpo-gen" -q -m "$story" -r "$story" -n 2 --max-new-tokens 40 --temperature 1.5 "$prompts" > out
	python3 -c 'import json, sys
print(json.dumps({"header": {"format": 1, "kind": "sft", "stages": [], "columns": [["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"]]}}))
for line in open("out"):
	row = json.loads(line)
	print(json.dumps({"id": row["id"], "prompt": row["prompt_ids"], "chosen": row["completion_ids"]}))' > stream.jsonl
	"$bin/dpo-cat" -q -z --seal stream.jsonl | "$bin/dpo-reflogp" -q -m "$story" | "$bin/dpo-cat" | sed '1d;$d' > scored
	python3 -c 'import json
worst = tokens = 0
for ours, theirs in zip(open("out"), open("scored"), strict=True):
	ours, theirs = json.loads(ours), json.loads(theirs)["ref_chosen_logps"]
	assert ours["ref_logps"] == theirs
	assert len(ours["logps"]) == len(theirs) == len(ours["completion_ids"])
	assert abs(sum(ours["logps"]) - ours["logp"]) < 1e-5 and abs(sum(theirs) - ours["ref_logp"]) < 1e-5
	worst = max(worst, *(abs(a - b) for a, b in zip(ours["logps"], theirs)))
	tokens += len(theirs)
print(tokens, "tokens, largest difference", worst)
assert tokens > 300 and 0 < worst < 1e-4'
}

@test "members of the row are kept as written, ours replace theirs" {
	row='{"a":1e3,"prompt":"Tom","id":12345678901,"logp":"theirs","n":12345678901234567890,"b":[ {"c":"\u00e9"} ],"completion":"old"}'
	echo "$row" | "$bin/dpo-gen" -q -m "$story" --temperature 0 --max-new-tokens 2 > out
	[[ "$(cat out)" == '{"id":"12345678901","a":1e3,"prompt":"Tom","n":12345678901234567890,"b":[ {"c":"\u00e9"} ],"sample":0,"prompt_ids":['* ]]
	! grep -qE 'old|theirs' out || return 1
	echo '{"prompt":"Tom"}' | "$bin/dpo-gen" -q -m "$story" --temperature 0 --max-new-tokens 2 > bare
	[ "$(field completion_ids < bare)" = "$(field completion_ids < out)" ]
	[ "$(field id < bare)" = '"0"' ]
}

@test "prompts as text, as ids, of a pairs stream and of dpo-gen's own output give the same" {
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 12 "$prompts" > text
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 12 text > again
	cmp text again
	python3 -c 'import json
for line in open("text"):
	row = json.loads(line)
	print(json.dumps({"prompt": row["prompt_ids"], "id": row["id"]}))' > ids.jsonl
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 12 ids.jsonl > ids
	[ "$(field completion_ids < text)" = "$(field completion_ids < ids)" ]

	python3 -c 'import json
for n, line in enumerate(open("'"$story"'/heldout.jsonl")):
	row = json.loads(line)
	if n < 12:
		print(json.dumps(row | {"id": "row %d" % n, "source": "s%d" % n, "rank": n}))' > rows.jsonl
	"$bin/dpo-tok" -q -m "$story" --keep source:str --keep rank:i64 -o pairs.tok rows.jsonl
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 12 pairs.tok > pairs
	[ "$(field prompt_ids < text)" = "$(field prompt_ids < pairs)" ]
	[ "$(field completion < text)" = "$(field completion < pairs)" ]
	[ "$(field source < pairs | tail -1)" = '"s11"' ]
	[ "$(field rank < pairs | tail -1)" = 11 ]
	! grep -q label_prob pairs || return 1
	cat pairs.tok | "$bin/dpo-gen" -q -m "$story" --max-new-tokens 12 - | cmp pairs
}

@test "a completion ends at EOS, at a stop string, at its length and at the model's last position" {
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 200 "$prompts" > out
	python3 -c 'import json
config = json.load(open("'"$story"'/config.json"))
for line in open("out"):
	row = json.loads(line)
	ids = row["completion_ids"]
	assert row["finish_reason"] == "eos" and ids[-1] == config["eos_token_id"] and config["eos_token_id"] not in ids[:-1], row'
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 200 --stop ' the' --stop . "$prompts" > stopped
	python3 -c 'import json
stops = 0
for whole, stopped in zip(open("out"), open("stopped"), strict=True):
	whole, stopped = json.loads(whole), json.loads(stopped)
	cut = min((at for at in (whole["completion"].find(s) for s in (" the", ".")) if at >= 0), default=None)
	assert stopped["completion"] == whole["completion"][:cut]
	assert stopped["finish_reason"] == ("eos" if cut is None else "stop")
	assert stopped["completion_ids"] == whole["completion_ids"][:len(stopped["completion_ids"])]
	stops += cut is not None
assert stops >= 10'
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 3 "$prompts" | field finish_reason | grep -c '"length"' | grep -qx 12
	echo '{"prompt":[5,6,7]}' | "$bin/dpo-gen" -q -m "$models/llama" -n 40 --max-new-tokens 100 > full # 32 positions
	python3 -c 'import json
rows = [json.loads(line) for line in open("full")]
assert {len(row["completion_ids"]) for row in rows if row["finish_reason"] == "length"} == {29}'
}

@test "the text of prompt and completion is the text of all ids" {
	"$bin/dpo-gen" -q -m "$story" --temperature 0 "$prompts" > out
	python3 -c 'import json
for line in open("out"):
	row = json.loads(line)
	assert row.get("eos") == ("<|endoftext|>" if row["finish_reason"] == "eos" else None)
	print(json.dumps({"id": row["id"], "prompt": row["prompt"], "completion": row["completion"]}))' |
		"$bin/dpo-tok" -q -m "$story" | "$bin/dpo-cat" | sed '1d;$d' > tokens
	[ "$(field chosen < tokens)" = "$(field completion_ids < out)" ] # dpo-tok, EOS and all
}

@test "a sampled U+0000 is shown as U+FFFD, which every reader of JSON takes" {
	nul=$(python3 -c 'import json
print(json.load(open("'"$story"'/tokenizer.json"))["model"]["vocab"]["\u0100"])') # byte 0 in the byte alphabet
	echo '{"prompt":"Tom"}' | "$bin/dpo-gen" -q -m "$story" -n 4000 --max-new-tokens 1 --temperature 1000 > out # every token
	python3 -c 'import json, sys
shown = {json.loads(line)["completion"] for line in open("out") if json.loads(line)["completion_ids"] == ['"$nul"']}
assert shown == {"\ufffd"}, shown'
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 1 out > again
	[ "$(wc -l < again)" -eq 4000 ]
}

@test "integer ids are kept to the digit, as dpo-tok keeps them" {
	for id in 9007199254740993 9223372036854775807 -9223372036854775808 0; do
		echo '{"n":[1,{"id":5}],"prompt":"Tom","i\u0064":'$id',"chosen":"a","rejected":"b"}' > row.jsonl
		"$bin/dpo-gen" -q -m "$story" --max-new-tokens 1 row.jsonl > out
		[ "$(field id < out)" = "\"$id\"" ]
		"$bin/dpo-tok" -q -m "$story" row.jsonl | "$bin/dpo-cat" | sed '1d;$d' > tokens
		[ "$(field id < tokens)" = "\"$id\"" ]
	done
	for id in 9223372036854775808 1e3 1.5 true '[]'; do
		echo '{"prompt":"Tom","id":'$id'}' > row.jsonl
		run "$bin/dpo-gen" -q -m "$story" --max-new-tokens 1 row.jsonl
		[ "$status" -eq 3 ]
		[[ "$output" == 'dpo-gen: row.jsonl:1: "id" is '* ]]
	done
}

@test "a temperature that float cannot divide by and an empty stop string are usage errors" {
	for option in '--temperature 1e-7' '--temperature 1e-40' '--temperature 1e-320' '--stop='; do
		run "$bin/dpo-gen" -q -m "$story" $option "$prompts"
		[ "$status" -eq 2 ]
		[[ "$output" == *"${option%%[ =]*}"* ]]
	done
	"$bin/dpo-gen" -q -m "$story" --temperature 0 --max-new-tokens 8 "$prompts" > greedy
	"$bin/dpo-gen" -q -m "$story" --temperature 1e-6 --max-new-tokens 8 "$prompts" | cmp greedy
}

@test "bad rows are named, with exit 3" {
	while IFS='	' read -r row message; do
		echo "$row" > bad.jsonl
		run "$bin/dpo-gen" -q -m "$story" bad.jsonl
		echo "$output"
		[ "$status" -eq 3 ]
		[[ "$output" == "dpo-gen: bad.jsonl:1: "*"$message"* ]]
	done <<-'END'
		{"text":"x"}	"prompt" is missing
		{"prompt":3}	"prompt" is neither a string nor a list of token ids
		{"prompt":[{"role":"user","content":"x"}]}	pipelines/dpo-chat
		{"prompt":[1,2.5]}	no token id
		{"prompt":[1,-1]}	no token id
		{"prompt":[100000]}	token 100000 is not in the vocabulary
		{"prompt":[]}	the prompt has no tokens
		{"prompt_ids":"x","prompt":"y"}	"prompt_ids" is not a list
		[1]	not a JSON object
		{"prompt":"x"	JSON, byte
	END
	python3 -c 'print("{\"prompt\":%s}" % ([5] * 256))' > long.jsonl
	run "$bin/dpo-gen" -q -m "$story" long.jsonl
	[ "$status" -eq 3 ]
	[[ "${lines[0]}" == *"the prompt has 256 tokens, the model has 256 positions" ]]
	echo '{"prompt":"x"}' > text.jsonl
	run "$bin/dpo-gen" -q -m "$models/llama" text.jsonl
	[ "$status" -eq 3 ]
	[[ "${lines[0]}" == *"the model has no tokenizer" ]]
	run "$bin/dpo-gen" -q -m "$models/llama" --stop x text.jsonl
	[ "$status" -eq 2 ]
}

@test "a completion ends at every EOS that generation_config.json names, one or a list" {
	greedy() { "$bin/dpo-gen" -q --temperature 0 --max-new-tokens 40 -m "$@" "$prompts"; }
	cp -r "$story" ends
	greedy "$story" > plain
	id=$(field completion_ids < plain | head -1 | tr -d '[] ' | cut -d, -f7)
	for ids in "$id" "[$id]" "[638, $id]"; do
		echo "{\"eos_token_id\": $ids}" > ends/generation_config.json
		greedy ends > cut
		python3 -c 'import json, sys
ended = 0
for plain, cut in zip(map(json.loads, open("plain")), map(json.loads, open("cut")), strict=True):
	ids = plain["completion_ids"]
	first = min((ids.index(end) for end in json.loads("[%s]" % sys.argv[1].strip("[]")) if end in ids), default=None)
	if first is not None:
		ended += 1
		ids = ids[:first + 1]
		assert cut["finish_reason"] == "eos", cut
	assert cut["completion_ids"] == ids, (plain, cut)
assert ended > 1' "$ids"
	done
}

@test "a torn stream, rows of another tokenizer and a reference with another one are refused" {
	"$bin/dpo-tok" -q -m "$story" -o pairs.tok "$story/heldout.jsonl"
	head -c 900 pairs.tok > torn.tok
	run "$bin/dpo-gen" -q -m "$story" -o out torn.tok
	[ "$status" -eq 3 ]
	[ ! -e out ]
	cp -r "$story" other
	sed -i 's/"eos_token": "[^"]*"/&, "extra": 1/' other/tokenizer_config.json
	! cmp -s "$story/tokenizer_config.json" other/tokenizer_config.json || return 1
	run "$bin/dpo-gen" -q -m other pairs.tok
	[ "$status" -eq 4 ]
	run "$bin/dpo-gen" -q -m "$story" -r other "$prompts"
	[ "$status" -eq 4 ]
}

@test "what goes wrong while generating or scoring names file, row and sample; a reference that is too small is told before" {
	cp -r "$models/llama" loud
	python3 - loud/model.safetensors <<-'END'
	import json, struct, sys
	data = bytearray(open(sys.argv[1], "rb").read())
	n, = struct.unpack_from("<Q", data)
	begin, end = json.loads(data[8:8 + n])["model.norm.weight"]["data_offsets"]
	data[8 + n + begin:8 + n + end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
	open(sys.argv[1], "wb").write(data)
	END
	echo '{"prompt":[5,6,7],"id":"seven"}' > ids.jsonl
	run "$bin/dpo-gen" -q -m loud ids.jsonl
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = 'dpo-gen: ids.jsonl: row "seven", sample 0: the logits of token 0 are not finite' ]
	run "$bin/dpo-gen" -q -m "$models/llama" -r loud --max-new-tokens 3 -o out ids.jsonl
	[ "$status" -eq 1 ]
	[[ "$output" == 'dpo-gen: ids.jsonl: row "seven", sample 0: the reference: '*"not finite" ]]
	[ ! -e out ]
	cp -r "$models/llama" short
	sed -i 's/"max_position_embeddings": *32/"max_position_embeddings": 8/' short/config.json
	run "$bin/dpo-gen" -q -m "$models/llama" -r short --max-new-tokens 6 ids.jsonl
	[ "$status" -eq 3 ]
	[ "${lines[0]}" = 'dpo-gen: ids.jsonl:1: prompt and completion may have 9 tokens, the reference has 8 positions' ]
	"$bin/dpo-gen" -q -m "$models/llama" -r short --max-new-tokens 5 ids.jsonl > out
	"$bin/dpo-gen" -q -m short -r "$models/llama" --max-new-tokens 200 ids.jsonl > out
	python3 -c 'import sys
sys.path.append(sys.argv[1])
import make_random
make_random.MODELS["small"] = (make_random.UNTIED | {"vocab_size": 95}, "llama", "F32", 1)
make_random.make("small", "small")' "$BATS_TEST_DIRNAME/../peers"
	run "$bin/dpo-gen" -q -m "$models/llama" -r small ids.jsonl
	[ "$status" -eq 4 ]
	[ "$output" = "dpo-gen: small: its vocabulary has 95 tokens, the policy's 96" ]
}

@test "no rows give no output, one at a time gives each row at once" {
	: | "$bin/dpo-gen" -q -m "$story" > out
	[ ! -s out ]
	mkfifo to from
	"$bin/dpo-gen" -q -m "$story" --batch-size 1 --max-new-tokens 2 - < to > from &
	exec 7> to 8< from
	echo '{"prompt":"Tom"}' >&7
	read -r -t 20 line <&8 # while the input stays open
	[[ "$line" == *'"completion"'* ]]
	exec 7>&-
	wait $!
}

@test "rows of a run that failed or was stopped cannot pass for all of them" {
	{ head -3 "$prompts"; echo '{"text":"x"}'; } > bad.jsonl
	generate() { "$bin/dpo-gen" -q -m "$story" --batch-size 1 --max-new-tokens 2 "$@"; }
	status=0
	generate bad.jsonl > out || status=$?
	[ "$status" -eq 3 ]
	[ "$(wc -l < out)" -eq 4 ]
	[ "$(tail -n 1 out)" = "dpo-gen stopped here" ]
	run "$bin/dpo-eval" -q --samples out
	[ "$status" -eq 3 ]
	[[ "$output" == "dpo-eval: out:4: JSON, "* ]]
	run generate -o file bad.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" != *"stopped here"* ]]
	[ ! -e file ]

	mkfifo to
	"$bin/dpo-gen" -q -m "$story" --batch-size 1 --max-new-tokens 2 - < to > out 3>&- & pid=$!
	exec 7> to
	head -1 "$prompts" >&7
	for _ in $(seq 400); do
		[ -s out ] && break
		sleep 0.05
	done
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	exec 7>&-
	[ "$status" -eq 143 ]
	[ "$(wc -l < out)" -eq 2 ]
	[ "$(tail -n 1 out)" = "dpo-gen stopped here" ]
}

# bos/: the story model with a token in front of every text that is not rendered.
make_bos() {
	cp -r "$story" bos
	python3 - <<-'END'
	import json
	tree = json.load(open("bos/tokenizer.json"))
	tree["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
	    {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>",
	    "ids": [639], "tokens": ["<|endoftext|>"]}}}
	json.dump(tree, open("bos/tokenizer.json", "w"))
	END
}

@test "gen: a prompt that a chat template rendered gets no special tokens" {
	make_bos
	ids() { # MODEL ROW: the ids of its greedy completion
		echo "$2" | "$bin/dpo-gen" -q -m "$1" --temperature 0 --max-new-tokens 12 | head -1
	}
	plain=$(ids "$story" '{"prompt":"One day, Mia"}')
	rendered=$(ids bos '{"prompt":"One day, Mia","rendered":true}')
	begun=$(ids bos '{"prompt":"One day, Mia"}')
	[ "${rendered/,\"rendered\":\"prompt\"/}" = "$plain" ]
	[ "$(ids bos "$rendered")" = "$rendered" ]
	[ "$begun" != "$plain" ]
	run ids bos '{"prompt":"One day, Mia","rendered":"yes"}'
	[[ "$output" == 'dpo-gen: standard input:1: "rendered" is none of true, false and "prompt"'* ]]
}

@test "gen: dpo-tok gives a row the ids it was sampled with, whatever the prompt came from, and EOS where there was one" {
	make_bos
	head -4 "$prompts" > plain
	sed 's/"prompt": "/&<|endoftext|>/; s/}$/,"rendered":true}/' plain > rendered
	sed 's/}$/,"completion":"."}/' plain | "$bin/dpo-tok" -q -m bos -o stream
	for from in plain rendered stream; do
		for length in 12 150; do
			"$bin/dpo-gen" -q -m bos --temperature 0.5 --max-new-tokens $length $from > sampled
			"$bin/dpo-tok" -q -m bos sampled | "$bin/dpo-cat" | sed '1d;$d' > tokenized
			python3 - $from $length <<-'END'
			import json, sys
			eos = {"12": "length", "150": "eos"}[sys.argv[2]]
			for sampled, tokenized in zip(map(json.loads, open("sampled")), map(json.loads, open("tokenized")), strict=True):
			    assert sampled["finish_reason"] == eos and sampled["prompt_ids"].count(639) == 1, sampled
			    assert sampled.get("rendered") == (None if sys.argv[1] == "plain" else "prompt"), sampled
			    added = [639] if sys.argv[1] == "plain" and eos == "length" else []
			    assert tokenized["prompt"] == sampled["prompt_ids"], (sampled, tokenized)
			    assert tokenized["chosen"] == sampled["completion_ids"] + added, (sampled, tokenized)
			END
		done
	done
}
