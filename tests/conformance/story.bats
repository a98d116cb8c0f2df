#!/usr/bin/env bats
# The embedded model, made again from nothing: the same held-out loss within 0.01. About two minutes on two cores.

@test "the story model trained again has the committed one's held-out loss" {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	make -s -C "$root/testdata/story" OUT="$BATS_TEST_TMPDIR/story" BIN="${DPO_BIN:-$root/bin}" check
}
