#!/usr/bin/env bats
# dpo-export: an untrained model comes back bit for bit, files byte for byte; a place is taken whole or not at all.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin}
	cd "$BATS_FILE_TMPDIR"
	python3 - <<-'END'
	import json, os, random, struct
	# A GPT-2 of one layer with random bits (finite floats) in every tensor, written in the order of the names.
	random.seed(7)
	n, shapes = 8, {"wte.weight": [11, 8], "wpe.weight": [16, 8], "ln_f.weight": [8], "ln_f.bias": [8]}
	for name, shape in {"ln_1.weight": [n], "ln_1.bias": [n], "attn.c_attn.weight": [n, 24], "attn.c_attn.bias": [24],
	        "attn.c_proj.weight": [n, n], "attn.c_proj.bias": [n], "ln_2.weight": [n], "ln_2.bias": [n],
	        "mlp.c_fc.weight": [n, 32], "mlp.c_fc.bias": [32], "mlp.c_proj.weight": [32, n], "mlp.c_proj.bias": [n]}.items():
	    shapes["h.0." + name] = shape
	os.mkdir("model")
	header, data = {}, b""
	for name in sorted(shapes):
	    count = 1
	    for size in shapes[name]:
	        count *= size
	    bits = [(random.getrandbits(1) << 31) | random.randrange(0x7f800000) for _ in range(count)]
	    header["transformer." + name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [len(data), len(data) + 4 * count]}
	    data += struct.pack("<%dI" % count, *bits)
	text = json.dumps(header).encode()
	with open("model/model.safetensors", "wb") as file:
	    file.write(struct.pack("<Q", len(text)) + text + data)
	with open("model/config.json", "w") as file:
	    file.write('{ "model_type":"gpt2",\t"vocab_size":11,"n_embd":8,"n_layer":1,"n_head":2, "n_positions":16,"dtype":"bfloat16"}\n\n')
	with open("model/vocab.json", "w") as file:
	    file.write('{"a":0,\r\n "b":1}')
	with open("model/merges.txt", "wb") as file:
	    file.write(b"")
	with open("model/notes.txt", "w") as file:
	    file.write("not part of a model")
	END
	cat > same.py <<-'END'
	# same.py A B: the two safetensors files hold the same tensors, byte for byte.
	import json, struct, sys
	def tensors(path):
	    with open(path, "rb") as file:
	        length, = struct.unpack("<Q", file.read(8))
	        header, data = json.loads(file.read(length)), file.read()
	    header.pop("__metadata__", None)
	    return {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items()}
	a, b = (tensors(path) for path in sys.argv[1:3])
	assert len(a) == 16 and a == b, [k for k in a.keys() | b.keys() if a.get(k) != b.get(k)]
	END
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	ln -s "$BATS_FILE_TMPDIR/model" "$BATS_FILE_TMPDIR/same.py" .
}

left() { # what is in this directory besides the two links
	ls -A | grep -vxE 'model|same.py|before' | tr '\n' ' '
}

@test "a directory comes back: tensors bit for bit, files byte for byte" {
	"$bin/dpo-export" -q -f hf -o out model
	python3 same.py model/model.safetensors out/model.safetensors
	for file in config.json vocab.json merges.txt; do
		cmp model/$file out/$file
	done
	[ "$(ls -A out | wc -l)" -eq 4 ]
	"$bin/dpo-export" -q -o again out
	diff -r out again
	[ "$(left)" = "again out " ]
}

@test "--dtype is told in config.json, where it names one; every other byte stays" {
	for written in f32:float32 bf16:bfloat16; do
		"$bin/dpo-export" -q --dtype ${written%:*} -o out-${written%:*} model
		sed "s/\"dtype\":\"bfloat16\"/\"dtype\":\"${written#*:}\"/" model/config.json | cmp - out-${written%:*}/config.json
	done
	grep -q '"dtype":"float32"' out-f32/config.json
	mkdir other
	cp model/*.safetensors model/merges.txt model/vocab.json other
	python3 - <<-'END'
	text = open("model/config.json").read().replace(',"dtype":"bfloat16"', "")
	inner = r'{ "task_specific_params": {"torch_dtype":"float64", "x":["torch_dtype","}"]},"_name_or_path":"dtype\\\"torch_dtype\":",'
	open("other/config.json", "w").write(inner + '\n"torch_dtype" : "float64",' + text[1:])
	END
	"$bin/dpo-export" -q --dtype bf16 -o told other
	sed 's/"torch_dtype" : "float64"/"torch_dtype" : "bfloat16"/' other/config.json | cmp - told/config.json
	sed 's/,"dtype":"bfloat16"//' model/config.json > other/config.json
	"$bin/dpo-export" -q --dtype bf16 -o untold other
	cmp other/config.json untold/config.json
}

@test "shards above a size, with their index; --force takes them away again" {
	"$bin/dpo-export" -q --max-shard-size 1KB -o out model
	[ "$(ls out | grep -c '^model-0000[1-9]-of-0000[3-9].safetensors$')" -ge 3 ]
	[ ! -e out/model.safetensors ]
	python3 - <<-'END'
	import json, os, struct
	index, total = json.load(open("out/model.safetensors.index.json")), 0
	for name in sorted(set(index["weight_map"].values())):
	    with open("out/" + name, "rb") as file:
	        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
	    header.pop("__metadata__")
	    assert all(index["weight_map"][tensor] == name for tensor in header)
	    size = max(entry["data_offsets"][1] for entry in header.values())
	    assert size <= 1000 or len(header) == 1
	    total += size
	assert total == index["metadata"]["total_size"] and len(index["weight_map"]) == 16
	END
	"$bin/dpo-export" -q -o again out
	python3 same.py model/model.safetensors again/model.safetensors
	"$bin/dpo-export" -q --force -o out model
	diff -r out again
	[ "$(left)" = "again out " ]
	run "$bin/dpo-export" --max-shard-size 5XB -o out model
	[ "$status" -eq 2 ]
	for format in safetensors gguf peft; do
		run "$bin/dpo-export" -f $format --max-shard-size 5GB -o new model
		[ "$status" -eq 2 ]
		[[ "$output" == *"--max-shard-size has no effect with -f $format"* ]]
	done
}

@test "16-bit weights: exact where they were, rounded to nearest even else" {
	"$bin/dpo-export" -q -f safetensors --dtype bf16 -o half model
	mkdir back
	cp model/*.json model/merges.txt back
	cp half back/model.safetensors
	"$bin/dpo-export" -q -f safetensors --dtype bf16 back | cmp - half
	"$bin/dpo-export" -q -f safetensors -o whole back
	python3 - <<-'END'
	import json, struct
	def floats(path):
	    with open(path, "rb") as file:
	        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
	        data = file.read()
	    header.pop("__metadata__", None)
	    return {name: struct.unpack(f"<{(entry['data_offsets'][1] - entry['data_offsets'][0]) // 4}I",
	            data[slice(*entry["data_offsets"])]) for name, entry in header.items()}
	before, after = floats("model/model.safetensors"), floats("whole")
	for name in before:
	    for x, y in zip(before[name], after[name]):
	        assert y == ((x + 0x7fff + (x >> 16 & 1)) >> 16 << 16), (name, hex(x), hex(y))
	END
}

@test "a bare safetensors file, to a file and through a pipe, with any thread count" {
	"$bin/dpo-export" -q -f safetensors -o out.safetensors model
	python3 same.py model/model.safetensors out.safetensors
	for threads in 1 2 3; do
		"$bin/dpo-export" -q -j $threads -f safetensors model | cmp - out.safetensors
	done
	"$bin/dpo-export" -q -o dir model
	cmp dir/model.safetensors out.safetensors
}

@test "permissions follow the umask" {
	(umask 027 && "$bin/dpo-export" -q -o out model)
	[ "$(stat -c %a out)" = 750 ]
	[ "$(stat -c %a out/model.safetensors)" = 640 ]
}

@test "a directory that exists is replaced only with --force, and only if it is an export" {
	"$bin/dpo-export" -q -o out model
	run "$bin/dpo-export" -o out model
	[ "$status" -eq 2 ]
	[ "$output" = "dpo-export: out: exists; --force replaces it" ]
	echo '{}' > out/generation_config.json
	"$bin/dpo-export" -q --force -o out/ model
	[ ! -e out/generation_config.json ]
	python3 same.py model/model.safetensors out/model.safetensors
	echo dear > out/thesis.tex
	run "$bin/dpo-export" --force -o out model
	[ "$status" -eq 2 ]
	[ "$(cat out/thesis.tex)" = dear ]
	ln -s out link
	run "$bin/dpo-export" --force -o link model
	[ "$status" -eq 2 ]
	echo file > file
	run "$bin/dpo-export" --force -o file model
	[ "$status" -eq 2 ]
	[ "$(left)" = "file link out " ]
}

@test "what stands in the way of the output is told before the model is read" {
	mkfifo never
	exec 7<> never	# ends only with this test
	mkdir full there
	echo dear > full/thesis.tex
	echo FROM > there/Modelfile
	waits() { # STATUS TEXT ARGUMENT...: ends although its input does not
		run timeout 20 "$bin/dpo-export" "${@:3}" <&7
		echo "$output"
		[ "$status" -eq "$1" ]
		[[ "${lines[0]}" == "dpo-export: $2"* ]]
	}
	for format in hf peft; do
		waits 2 "full: exists; --force replaces it" -f $format -o full
		waits 2 'full: holds "thesis.tex"' -f $format --force -o full/
		waits 2 "never: is not a directory" -f $format --force -o never
		waits 1 "nowhere/out: No such file" -f $format -o nowhere/out
	done
	for format in safetensors gguf; do
		waits 1 "nowhere/out: No such file" -f $format -o nowhere/out
		waits 1 "there: is a directory" -f $format -o there
	done
	waits 2 "there/Modelfile: exists" -f gguf --modelfile -o there/story.gguf
	waits 2 "full: exists" -f peft -a - -o full model
	exec 7>&-
}

@test "usage errors: no -o for a directory, an unknown format, an input as output" {
	while IFS='	' read -r says options; do
		run "$bin/dpo-export" $options < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-export: "*"$says"* ]]
	done <<-'END'
		writes a directory: name it with -o	model
		writes a directory: name it with -o	-o - model
		"onnx" is not one of	-f onnx -o out model
		model is a directory	-f peft -o out model
		model: is an input	--force -o model model
		is inside the model being read	-f safetensors -o model/model.safetensors model
		is inside the model being read	-o model/out model
		model: unexpected operand	-o out model model
	END
	[ -z "$(left)" ]
}

@test "bad models: one line naming file and fact, exit 3, nothing left" {
	mkdir bad
	cp model/* bad/
	refused() { # expected words
		run "$bin/dpo-export" -o out bad
		[ "$status" -eq 3 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ "$output" == "dpo-export: bad/"*"$1"* ]]
		run "$bin/dpo-export" -f safetensors -o out bad
		[ "$status" -eq 3 ]
		[ "$(left)" = "bad " ]
	}
	head -c 900 model/model.safetensors > bad/model.safetensors
	refused "model.safetensors: the file ends within its header"
	head -c -1 model/model.safetensors > bad/model.safetensors
	refused "ends beyond the end of the file"
	cp model/model.safetensors bad/
	sed 's/"dtype"/"scale_attn_by_inverse_layer_idx":true,"dtype"/' model/config.json > bad/config.json
	refused 'config.json: this value of "scale_attn_by_inverse_layer_idx"'
	sed 's/"dtype"/"moe_experts":8,"dtype"/' model/config.json > bad/config.json
	refused 'config.json: key "moe_experts"'
	sed 's/gpt2/mamba/' model/config.json > bad/config.json
	refused 'config.json: model_type "mamba"'
	printf '{"model_type":"gpt2\xff"}' > bad/config.json
	refused 'config.json: JSON, byte 19: invalid UTF-8'
	rm bad/config.json
	refused "config.json"
}

@test "what is no stream, or pairs, is refused" {
	echo '{"prompt":"a"}' > pairs.jsonl
	run "$bin/dpo-export" -o out pairs.jsonl
	[ "$status" -eq 3 ]
	run "$bin/dpo-export" -o out < /dev/null
	[ "$status" -eq 3 ]
	run "$bin/dpo-export" -o out absent
	[ "$status" -eq 1 ]
	[ "$(left)" = "pairs.jsonl " ]
}

@test "a write that fails leaves nothing, and what was there before stays" {
	command -v strace > /dev/null || skip "strace is not installed"
	"$bin/dpo-export" -q -o old model
	cp -r old before
	for call in mkdir write fsync rename,renameat2; do
		for when in 1 2; do
			[ "$call$when" != mkdir2 ] || continue
			[ "$call$when" != rename,renameat22 ] || continue
			run strace -f -qq -o /dev/null -e trace=$call -e inject=$call:error=ENOSPC:when=$when "$bin/dpo-export" -q -o new model
			[ "$status" -eq 1 ]
			[[ "$output" == *"No space left on device"* ]]
			[ "$(left)" = "old " ]
			run strace -f -qq -o /dev/null -e trace=$call -e inject=$call:error=ENOSPC:when=$when "$bin/dpo-export" -q --force -o old model
			[ "$status" -eq 1 ]
			diff -r old before
			[ "$(left)" = "old " ]
		done
	done
}

@test "a signal at any write, sync or rename leaves nothing half done" {
	command -v strace > /dev/null || skip "strace is not installed"
	for signal in INT TERM; do
		for place in mkdir:1 write:1 write:2 fsync:1 fsync:3 rename:1; do
			call=${place%:*} when=${place#*:}
			run env --default-signal=INT strace -f -qq -o /dev/null -e trace=$call -e inject=$call:signal=$signal:when=$when "$bin/dpo-export" -q -o new model
			[ "$status" -eq $((128 + $(kill -l $signal))) ]
			if [ -e new ]; then # the rename itself came through
				[ "$call" = rename ]
				python3 same.py model/model.safetensors new/model.safetensors
				rm -r new
			fi
			[ -z "$(left)" ]
		done
	done
}

@test "a signal in the midst of an exchange waits for its end" {
	command -v strace > /dev/null || skip "strace is not installed"
	"$bin/dpo-export" -q -o old model
	for when in 1 2 3; do
		before=$(stat -c %i old)
		run strace -f -qq -o /dev/null -e trace=rename,renameat2 -e inject=renameat2:error=EINVAL \
			-e inject=rename:signal=TERM:when=$when "$bin/dpo-export" -q --force -o old model
		[ "$status" -eq 143 ]
		[ "$(stat -c %i old)" != "$before" ]
		python3 same.py model/model.safetensors old/model.safetensors
		[ "$(left)" = "old " ]
	done
}

@test "everything is synced before the rename, and the parent after it" {
	command -v strace > /dev/null || skip "strace is not installed"
	strace -f -qq -o trace -e trace=fsync,rename,renameat2,mkdir "$bin/dpo-export" -q -o out model
	sed -E 's/^[0-9]+ +//; s/\(.*//' trace | grep -E '^(mkdir|fsync|rename)' | uniq -c | sed 's/^ *//' > order
	printf '1 mkdir\n5 fsync\n1 rename\n1 fsync\n' | diff - order
}

@test "--force: what was there before is removed after the exchange was synced, and is back if that fails" {
	command -v strace > /dev/null || skip "strace is not installed"
	"$bin/dpo-export" -q -o old model
	for call in renameat2 rename; do
		no_exchange=$([ $call = rename ] && echo "-e inject=renameat2:error=EINVAL" || true)
		strace -f -qq -o trace -e trace=fsync,rename,renameat2,mkdir,unlink $no_exchange "$bin/dpo-export" -q --force -o old model
		sed -E 's/^[0-9]+ +//; s/\(.*(= 0.*)/ \1/' trace | sed -nE 's/^(mkdir|fsync|rename|renameat2|unlink) = 0.*/\1/p' | uniq > order
		printf '%s\n' mkdir fsync $call fsync unlink | diff - order
		python3 same.py model/model.safetensors old/model.safetensors
		rm trace order
		[ "$(left)" = "old " ]
	done
	before=$(stat -c %i old)
	run strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:when=6 "$bin/dpo-export" -q --force -o old model
	[ "$status" -eq 1 ]
	[ "$(stat -c %i old)" = "$before" ]
	python3 same.py model/model.safetensors old/model.safetensors
	[ "$(left)" = "old " ]
}
