#!/usr/bin/env bats
# pytorch_model.bin, both forms: the same model as the same weights in safetensors; what no state dict holds is refused by name.

setup_file() {
	export root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin}
	cd "$BATS_FILE_TMPDIR"
	mkdir model
	python3 - <<-'END'
	import json, random, struct
	# GPT-2 medium's names, small, in half precision.
	random.seed(3)
	n, layers = 8, 3
	shapes = {"wte.weight": [50, n], "wpe.weight": [16, n]}
	for layer in range(layers):
	    for name, shape in {"ln_1.weight": [n], "ln_1.bias": [n], "attn.c_attn.weight": [n, 3 * n], "attn.c_attn.bias": [3 * n],
	            "attn.c_proj.weight": [n, n], "attn.c_proj.bias": [n], "ln_2.weight": [n], "ln_2.bias": [n],
	            "mlp.c_fc.weight": [n, 4 * n], "mlp.c_fc.bias": [4 * n], "mlp.c_proj.weight": [4 * n, n], "mlp.c_proj.bias": [n]}.items():
	        shapes[f"h.{layer}.{name}"] = shape
	shapes |= {"ln_f.weight": [n], "ln_f.bias": [n]}
	header, data = {}, b""
	for name, shape in shapes.items():
	    count = 1
	    for size in shape:
	        count *= size
	    values = struct.pack(f"<{count}e", *(random.uniform(-1, 1) for _ in range(count)))
	    header["transformer." + name] = {"dtype": "F16", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
	    data += values
	text = json.dumps(header).encode()
	with open("model/model.safetensors", "wb") as file:
	    file.write(struct.pack("<Q", len(text)) + text + data)
	with open("model/config.json", "w") as file:
	    json.dump({"model_type": "gpt2", "vocab_size": 50, "n_embd": n, "n_layer": layers, "n_head": 2, "n_positions": 16}, file)
	END
	"$bin/dpo-export" -f safetensors -o wanted model 2> wanted.id
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir model
	cp "$BATS_FILE_TMPDIR/model/config.json" model
	wanted=$BATS_FILE_TMPDIR/wanted
}

write() { # FORM CHANGE...
	python3 "$root/tests/torch_bin.py" "$1" "$BATS_FILE_TMPDIR/model/model.safetensors" model/pytorch_model.bin "${@:2}"
}

# The same floats, and the same model id, which is over the bytes as they are stored.
same() {
	"$bin/dpo-export" -f safetensors -o got model 2> got.id || { cat got.id; return 1; }
	cmp got "$wanted"
	diff got.id "$wanted.id"
}

@test "the old form, as DialoGPT is published: half precision, masks, a second head" {
	write old dialogpt
	same
}

@test "the zip form, with the same" {
	write zip dialogpt
	same
}

@test "both forms: a shared head, all in one storage, parameters" {
	for form in old zip; do
		for change in shared one-storage parameters; do
			write $form $change
			same
		done
	done
}

@test "shards with an index" {
	for form in old zip; do
		write $form only=transformer.w
		mv model/pytorch_model.bin model/pytorch_model-00001-of-00002.bin
		write $form only=transformer.h,transformer.l
		mv model/pytorch_model.bin model/pytorch_model-00002-of-00002.bin
		python3 - "$BATS_FILE_TMPDIR/model/model.safetensors" > model/pytorch_model.bin.index.json <<-'END'
		import json, struct, sys
		file = open(sys.argv[1], "rb")
		names = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
		print(json.dumps({"weight_map": {name: f"pytorch_model-0000{1 + (name[12] != 'w')}-of-00002.bin" for name in names}}))
		END
		same
	done
	sed -i 's|pytorch_model-00001|../pytorch_model-00001|' model/pytorch_model.bin.index.json
	run "$bin/dpo-export" -f safetensors model
	[ "$status" -eq 3 ]
	[[ "$output" == *'"../pytorch_model-00001-of-00002.bin" is not the name of a file beside the index' ]]
}

@test "what is no state dict of contiguous tensors is refused in one line, and nothing is executed" {
	refused() { # FORM CHANGE MESSAGE
		write "$1" "$2"
		run "$bin/dpo-export" -f safetensors -o got model
		echo "$output"
		[ "$status" -eq 3 ]
		[ "$output" = "dpo-export: model/pytorch_model.bin: $3" ]
		[ ! -e got ]
		[ ! -e pwned ]
	}
	for form in old zip; do
		refused $form transposed 'tensor "transformer.wte.weight": not contiguous: dimension 1 of stride 8, not 1'
		refused $form inside-out 'tensor "transformer.wte.weight": reaches beyond its storage'
		refused $form twice 'tensor "again": storage "0" is described in two ways'
		refused $form list 'tensor "epoch": not a tensor; the file must be a state dict, names and their tensors'
		refused $form checkpoint 'tensor "state_dict": not a tensor; the file must be a state dict, names and their tensors'
		refused $form big-endian 'written on a machine of another byte order'
		write $form os.system
		run "$bin/dpo-export" -f safetensors -o got model
		[ "$status" -eq 3 ]
		[[ "$output" == *': the global "posix system", which no state dict needs' ]]
		[ ! -e pwned ]
	done
	refused zip compressed 'a zip archive with compressed or encrypted members'
	refused zip overlap 'a zip archive whose directory and members disagree'
	echo "not a file of PyTorch at all" > model/pytorch_model.bin
	run "$bin/dpo-export" -f safetensors -o got model
	[ "$output" = "dpo-export: model/pytorch_model.bin: not a file of torch.save" ]
}

@test "safetensors come first where both are there" {
	cp "$BATS_FILE_TMPDIR/model/model.safetensors" model
	echo "no weights" > model/pytorch_model.bin
	same
}
