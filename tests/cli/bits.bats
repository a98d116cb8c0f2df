#!/usr/bin/env bats
# Bits do not depend on company: log-probs of a pair are the same bits for any thread count, alone or with neighbours,
# through a pipe or from a file, in dpo-reflogp, dpo-train and dpo-eval, under every BLAS kernel and library flavour.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} model="$root/testdata/story"
	cd "$BATS_FILE_TMPDIR"
	head -24 "$model/heldout.jsonl" > pairs.jsonl
	"$bin/dpo-tok" -q -m "$model" -o pairs.tok pairs.jsonl
	for i in $(seq 24); do
		"$bin/dpo-cat" -q --shard "$i/24" -o "alone$i.tok" pairs.tok
	done
}

rows() { # the records of a stream as JSON lines
	"$bin/dpo-cat" "$@" | sed '1d;$d'
}

agrees() { # with the environment as it is: threads, neighbours, pipe and file, and the three programs
	dir=$(mktemp -d "$BATS_TEST_TMPDIR/XXXXXX")
	"$bin/dpo-reflogp" -q -m "$model" -j 1 -o "$dir/1.ref" pairs.tok
	for threads in 2 3; do
		"$bin/dpo-reflogp" -q -m "$model" -j $threads -o "$dir/n.ref" pairs.tok
		cmp "$dir/1.ref" "$dir/n.ref"
	done
	cat pairs.tok | "$bin/dpo-reflogp" -q -m "$model" -j 2 | cat > "$dir/pipe.ref"
	cmp "$dir/1.ref" "$dir/pipe.ref"

	rows "$dir/1.ref" > "$dir/together"
	for i in $(seq 24); do
		"$bin/dpo-reflogp" -q -m "$model" -j 2 "alone$i.tok" > "$dir/a.ref"
		rows "$dir/a.ref"
	done > "$dir/apart"
	cmp "$dir/together" "$dir/apart"

	# The policy is the reference: every reward is 0 and the loss is float ln 2, in every batch, at every step.
	for threads in 1 2 3; do
		"$bin/dpo-train" -q -m "$model" -j $threads --learning-rate 0 --num-train-epochs 2 --batch-size 5 --logging-steps 1 \
			--log "$dir/log" -o "$dir/policy" "$dir/1.ref"
		[ "$(wc -l < "$dir/log")" -ge 10 ]
		grep grad_norm "$dir/log" > "$dir/steps"
		! grep -vE '"loss":0\.6931471824645996[,}]' "$dir/steps" || return 1
		! grep -vE '"rewards/chosen":-?0,.*"rewards/rejected":-?0,.*"rewards/accuracies":0,.*"rewards/margins":-?0[,}]' "$dir/steps" || return 1
		"$bin/dpo-eval" -q -m "$model" -j $threads --format tsv "$dir/1.ref" > "$dir/eval"
		grep -qE '^eval_loss	0\.6931471824645996$' "$dir/eval"
		grep -qE '^eval_rewards/margins	-?0$' "$dir/eval"
	done
}

flavour() { # of the OpenBLAS in use
	case $("$bin/dpo-reflogp" --version) in
	*USE_OPENMP*) echo openmp ;;
	*SINGLE_THREADED*) echo serial ;;
	*MAX_THREADS*) echo pthread ;;
	esac
}

with_kernel() { # kernel, CPU flag it needs
	grep -qw "$2" /proc/cpuinfo || skip "this CPU has no $2, which kernel $1 needs"
	for flavour in pthread openmp serial; do
		library=$(ls -d /usr/lib/*/openblas-$flavour/libopenblas.so.0 2>/dev/null | head -1)
		[ -n "$library" ] || skip "OpenBLAS flavour $flavour is not installed"
		export LD_LIBRARY_PATH="${library%/*}" OPENBLAS_CORETYPE=$1 DPO_KERNEL=blas
		"$bin/dpo-reflogp" --version | grep -qi "kernel $1," # kernel and flavour really are in use
		[ "$(flavour)" = $flavour ]
		agrees
	done
}

@test "the kernel of this CPU" {
	cd "$BATS_FILE_TMPDIR"
	unset OPENBLAS_CORETYPE DPO_KERNEL
	agrees
}

ours() { # name of the kernel
	for core in Haswell Prescott; do
		export OPENBLAS_CORETYPE=$core
		"$bin/dpo-reflogp" --version | grep -q "kernel $1,"
		"$bin/dpo-reflogp" -m "$model" -o "$core.ref" pairs.tok 2> said
		! grep OpenBLAS said || return 1
	done
	cmp Haswell.ref Prescott.ref
	agrees
}

@test "our own AVX-512 kernel: chosen by the CPU alone, whatever OpenBLAS is told" {
	grep -qw avx512f /proc/cpuinfo || skip "this CPU has no avx512f"
	cd "$BATS_FILE_TMPDIR"
	export DPO_KERNEL=vectors
	ours AVX512
}

@test "our own AVX2 kernel: the same" {
	grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo || skip "this CPU has no avx2 with fma"
	cd "$BATS_FILE_TMPDIR"
	export DPO_KERNEL=avx2
	ours AVX2
}

@test "our own kernel for tile registers: the same" {
	grep -qw amx_bf16 /proc/cpuinfo || skip "this CPU has no amx_bf16"
	cd "$BATS_FILE_TMPDIR"
	unset DPO_KERNEL
	ours AMX-BF16x3
}

@test "an OpenBLAS kernel below the CPU's is named once, with the remedy; -q silences it" {
	grep -qw fma /proc/cpuinfo || skip "this CPU has no better kernel than Prescott"
	cd "$BATS_FILE_TMPDIR"
	export DPO_KERNEL=blas OPENBLAS_CORETYPE=Prescott
	for run in "dpo-reflogp -o slow.ref pairs.tok" "dpo-train --max-steps 1 -o slow.policy slow.ref" "dpo-eval slow.ref"; do
		set -- $run
		program=$1
		shift
		"$bin/$program" -m "$model" "$@" 2> said
		[ "$(grep -c OpenBLAS said)" -eq 1 ]
		grep -q "kernel Prescott.*unset OPENBLAS_CORETYPE" said
	done
	"$bin/dpo-reflogp" -q -m "$model" -o quiet.ref pairs.tok 2> said
	[ ! -s said ]
}

@test "kernel Prescott, three library flavours" {
	cd "$BATS_FILE_TMPDIR"
	with_kernel Prescott sse2
}

@test "kernel Haswell, three library flavours" {
	cd "$BATS_FILE_TMPDIR"
	with_kernel Haswell avx2
}

@test "kernel SkylakeX, three library flavours" {
	cd "$BATS_FILE_TMPDIR"
	with_kernel SkylakeX avx512f
}
