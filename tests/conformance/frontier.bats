#!/usr/bin/env bats
# The paper's Figure 2, left, on a really trained model: reward of samples against KL to the reference, the word-list
# sentiment being the true reward. PyTorch with the same data and settings (beta 0.1, learning rate 1e-4, one epoch, 8 pairs a
# step) gave a sentiment of 2.57 to 2.77 at a KL of 10.6 to 13.5 over shuffles, from 0.41; beta 0.5: 1.74 at 4.7.

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export root bin=${DPO_BIN:-$root/bin} assets=${DPO_SHARED:-$root/../shared}/assets
	[ -e "$assets/models/stories260k" ] && [ -e "$assets/prefs/stories-train.jsonl" ] || return 0
	cd "$BATS_FILE_TMPDIR"
	for seed in 1 2 3; do
		make -j2 -f "$root/pipelines/frontier.mk" DPO_BIN="$bin" MODEL="$assets/models/stories260k" \
			TRAIN="$assets/prefs/stories-train.jsonl" HELDOUT="$assets/prefs/stories-heldout.jsonl" OUT=$seed SEED=$seed \
			LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 BETAS='0.1 0.5' >&2
	done
}

setup() {
	[ -e "$assets/models/stories260k" ] || skip "no asset models/stories260k"
	[ -e "$assets/prefs/stories-train.jsonl" ] || skip "no asset prefs/stories-train.jsonl"
	cd "$BATS_FILE_TMPDIR"
}

mean() { # BETA COLUMN: over the three shuffles
	awk -F '\t' -v beta="$1" -v column="$2" '$1 == beta { sum += $column; n++ } END { if (n != 3) exit 1; printf "%.6g", sum / n }' \
		1/frontier.tsv 2/frontier.tsv 3/frontier.tsv
}

within() { # VALUE LOW HIGH
	echo "$1 within $2 and $3"
	awk -v x="$1" -v low="$2" -v high="$3" 'BEGIN { exit !(x >= low && x <= high) }'
}

@test "beta 0.1: sentiment of at least 2.4 at a KL of at most 14, from about 0.41 at 0" {
	cat 1/frontier.tsv
	within "$(mean - 2)" 0.1 0.75
	within "$(mean - 4)" 0 1e-9
	within "$(mean 0.1 2)" 2.4 3.4
	within "$(mean 0.1 4)" 8 14
}

@test "beta 0.5 goes less far for less reward" {
	within "$(mean 0.5 2)" 1.2 2.4
	within "$(mean 0.5 4)" 3 7
}
