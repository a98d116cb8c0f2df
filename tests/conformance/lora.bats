#!/usr/bin/env bats
# An adapter on a real model against the numbers TRL 1.16.0 gave with peft in fp32 (testdata/golden/trl).

@test "L: story model, rank 8 on all linear maps, 64 pairs: every step and the adapter" {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	assets=${DPO_SHARED:-$root/../shared}/assets
	[ -e "$assets/models/stories260k" ] || skip "no asset models/stories260k"
	cd "$BATS_TEST_TMPDIR"
	python3 "$root/tests/peers/cases.py" L "$assets" .
	python3 "$root/tests/peers/cases.py" L --arguments > arguments
	"$bin/dpo-tok" -q $(sed -n 1p arguments) -m model -o train.tok train.jsonl
	"$bin/dpo-reflogp" -q -m model -o train.ref train.tok
	"$bin/dpo-train" -q $(sed -n 2p arguments) -m model --log log.jsonl -o adapter.dpo train.ref
	"$bin/dpo-export" -q -f peft -a adapter.dpo -o peft model
	python3 "$root/tests/peers/compare_trl.py" "$root/testdata/golden/trl/L.json" log.jsonl --weights peft/adapter_model.safetensors
	"$bin/dpo-export" -f hf --merge -a adapter.dpo -o merged model 2> note
	grep -q 'merged: log-probs of 504 tokens' note
}
