#!/usr/bin/env bats
# Every program: the manual names every option of --help and no other, the pages are clean, and the common contract holds.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	programs=$(cd "$root/cmd" && ls dpo-*.c | sed 's/\.c$//')
}

@test "manual pages name exactly the options of --help" {
	for program in $programs; do
		"$bin/$program" --help | grep -oE '^ +(-.,)? +--[a-z0-9-]+' | grep -oE '[-]-[a-z0-9-]+' | sort -u > "$BATS_TEST_TMPDIR/help"
		grep -oE '^\.It .*Fl -[a-z0-9-]+' "$root/cmd/$program.1" | grep -oE 'Fl -[a-z0-9-]+' | sed 's/^Fl /-/' | sort -u > "$BATS_TEST_TMPDIR/page"
		[ -s "$BATS_TEST_TMPDIR/help" ]
		diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/page"
	done
}

@test "manual pages pass mandoc and groff without a word" {
	for page in "$root"/cmd/*.1 "$root"/libcore/*/*.5; do
		run mandoc -T lint -W warning "$page"
		echo "$output"
		[ -z "$output" ]
		run groff -mdoc -ww -z "$page"
		echo "$output"
		[ -z "$output" ]
	done
}

@test "every file that a README names is there" {
	(cd "$root" && find cmd libcore pipelines testdata tests -type f) | sed 's|.*/||' | sort -u > "$BATS_TEST_TMPDIR/there"
	for readme in README.md tests/peers/README.md; do
		grep -oE '`[A-Za-z0-9_./-]+\.([ch15]|py|bats|mk)`' "$root/$readme" | tr -d '`' | sed 's|.*/||' | sort -u > "$BATS_TEST_TMPDIR/named"
		[ -s "$BATS_TEST_TMPDIR/named" ]
		run comm -23 "$BATS_TEST_TMPDIR/named" "$BATS_TEST_TMPDIR/there"
		echo "$output"
		[ -z "$output" ]
		# With a directory it is there, whatever its extension; a link leads somewhere.
		grep -oE '(^|[ `(])(cmd|libcore|pipelines|testdata|tests)/[A-Za-z0-9_./-]*[A-Za-z0-9_/-]|\]\([^)#:]+\)' "$root/$readme" |
			sed -E 's/^(\]\(|[ `(])//; s/\)$//' | sort -u > "$BATS_TEST_TMPDIR/paths"
		[ -s "$BATS_TEST_TMPDIR/paths" ]
		while read -r path; do
			echo "$readme: $path"
			[ -e "$root/$path" ]
		done < "$BATS_TEST_TMPDIR/paths"
	done
}

@test "--help and --version: standard output, exit 0, nothing on standard error" {
	for program in $programs; do
		for option in --help --version; do
			"$bin/$program" $option > "$BATS_TEST_TMPDIR/out" 2> "$BATS_TEST_TMPDIR/err"
			[ -s "$BATS_TEST_TMPDIR/out" ]
			[ ! -s "$BATS_TEST_TMPDIR/err" ]
		done
	done
}

@test "a full or closed standard output is a failure" {
	for program in $programs; do
		run sh -c "'$bin/$program' --help > /dev/full"
		[ "$status" -eq 1 ]
		run sh -c "'$bin/$program' --version >&-"
		[ "$status" -eq 1 ]
	done
}

@test "a kernel is asked for by its name, in capitals or not; another is a usage error that lists them" {
	for program in $programs; do
		DPO_KERNEL=BLAS run "$bin/$program" --version
		[ "$status" -eq 0 ]
		[[ "$output" != *"kernel A"[VM]* ]]
		DPO_KERNEL=avx-2 run "$bin/$program" --version
		[ "$status" -eq 2 ]
		[ "${lines[0]}" = "$program: DPO_KERNEL: \"avx-2\" is not one of: vectors, avx2, blas" ]
		DPO_KERNEL= run "$bin/$program" --version
		[ "$status" -eq 0 ]
	done
}

@test "a choice that there is not is a usage error that lists the choices" {
	run "$bin/dpo-train" --order random
	[ "$status" -eq 2 ]
	[ "${lines[0]}" = 'dpo-train: --order: "random" is not one of: shuffle, sequential' ]
}

@test "an unknown option and a number out of range are usage errors" {
	for program in $programs; do
		run "$bin/$program" --no-such-option
		[ "$status" -eq 2 ]
		run "$bin/$program" -j 5x
		[ "$status" -eq 2 ]
		run "$bin/$program" -j -1
		[ "$status" -eq 2 ]
	done
}
