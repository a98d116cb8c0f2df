#!/usr/bin/env bats
# from-parquet, with whichever of its two packages is there; and what dpo-tok says of a Parquet file.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	cd "$BATS_TEST_TMPDIR"
	cat > rows.jsonl <<-'ROWS'
	{"prompt": "é", "chosen": [{"role": "user", "content": "東"}, {"role": "assistant", "content": null}], "score": 0.5, "n": 9007199254740993}
	{"prompt": "b\n", "chosen": [], "score": null, "n": -1}
	ROWS
}

python() { # the one the stage runs with
	"${DPO_PYTHON:-python3}" "$@"
}

needs() { # PACKAGE: one that is there but does not load is a failure
	python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec(sys.argv[1]))' "$1" || skip "$1 is not installed"
}

# Read rows.parquet, written with the package, back with that one alone.
there_and_back() { # PACKAGE OTHER
	mkdir -p without/$2
	echo "raise ImportError" > without/$2/__init__.py
	PYTHONPATH=without python "$root/pipelines/from-parquet" rows.parquet | diff rows.jsonl -
	PYTHONPATH=without python "$root/pipelines/from-parquet" -c n rows.parquet | diff <(printf '{"n": 9007199254740993}\n{"n": -1}\n') -
	run env PYTHONPATH=without "${DPO_PYTHON:-python3}" "$root/pipelines/from-parquet" -c absent rows.parquet
	[ "$status" -eq 3 ]
	head -c 200 rows.parquet > cut.parquet
	run env PYTHONPATH=without "${DPO_PYTHON:-python3}" "$root/pipelines/from-parquet" cut.parquet
	[ "$status" -eq 3 ]
	[ "${#lines[@]}" -eq 2 ]
	[[ "$output" == "from-parquet: cut.parquet: "*"from-parquet stopped here" ]]
}

@test "from-parquet with pyarrow" {
	needs pyarrow
	python - <<-'END'
	import json, pyarrow, pyarrow.parquet
	rows = [json.loads(line) for line in open("rows.jsonl")]
	pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "rows.parquet")
	END
	there_and_back pyarrow duckdb
}

@test "from-parquet with duckdb" {
	needs duckdb
	python - <<-'END'
	import duckdb
	kinds = "{prompt: 'VARCHAR', chosen: 'STRUCT(role VARCHAR, content VARCHAR)[]', score: 'DOUBLE', n: 'BIGINT'}"
	duckdb.sql(f"COPY (FROM read_json('rows.jsonl', columns={kinds})) TO 'rows.parquet' (FORMAT parquet)")
	END
	there_and_back duckdb pyarrow
}

@test "from-parquet without either says what to install" {
	mkdir -p without/duckdb without/pyarrow
	echo "raise ImportError" | tee without/duckdb/__init__.py > without/pyarrow/__init__.py
	run env PYTHONPATH=without "${DPO_PYTHON:-python3}" "$root/pipelines/from-parquet" x.parquet
	[ "$status" -eq 3 ]
	[[ "$output" == "from-parquet: neither pyarrow nor duckdb is installed (in a virtual environment: pip install pyarrow)"* ]]
}

@test "dpo-tok names the stage when it meets a Parquet file" {
	printf 'PAR1\0\0\0' > x.parquet
	run "$bin/dpo-tok" -m "$root/testdata/story" x.parquet
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-tok: x.parquet: a Parquet file; pipelines/from-parquet writes it as JSON Lines" ]
}

# In pyarrow's place, a reader that gives a row with $2 words, then does what $1 says.
pretend() {
	mkdir -p with/pyarrow
	: > with/pyarrow/__init__.py
	cat > with/pyarrow/parquet.py <<-END
	import contextlib, pathlib, time, types

	def batches(size, columns):
	    yield types.SimpleNamespace(to_pylist=lambda: [{"prompt": "One", "chosen": " day" * ${2:-9999}, "rejected": " night"}])
	    $1

	@contextlib.contextmanager
	def ParquetFile(path):
	    yield types.SimpleNamespace(iter_batches=batches)
	END
	export PYTHONPATH=with PYTHONDONTWRITEBYTECODE=1
}

# The next stage does not take what from-parquet wrote to the file out for whole.
not_whole() {
	run "$bin/dpo-tok" -q -m "$root/testdata/story" -o out.dpo out
	[ "$status" -eq 3 ]
	[ ! -e out.dpo ]
}

@test "from-parquet: a signal, or whatever a package does, after a row leaves no prefix that passes for all" {
	pretend 'pathlib.Path("reached").touch(); time.sleep(60)'
	"${DPO_PYTHON:-python3}" "$root/pipelines/from-parquet" x.parquet > out 2> told 3>&- &
	for _ in $(seq 100); do
		[ ! -e reached ] || break
		sleep 0.05
	done
	kill $!
	status=0
	wait $! || status=$?
	[ "$status" -eq 143 ]
	[ "$(wc -l < out)" -eq 2 ]
	[ ! -s told ]
	not_whole
	for failure in MemoryError 'OSError(5, "no such thing")'; do
		pretend "raise $failure"
		run sh -c "'${DPO_PYTHON:-python3}' '$root/pipelines/from-parquet' x.parquet 2>&1 > out"
		[ "$status" -eq 3 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ "$output" == "from-parquet: x.parquet: row 1: "?* ]]
		not_whole
	done
	pretend 'raise SystemExit("odd")'
	run sh -c "'${DPO_PYTHON:-python3}' '$root/pipelines/from-parquet' x.parquet > out"
	[ "$status" -eq 1 ]
	not_whole
}

@test "from-parquet: an output that cannot be written is told in one line, and is no fault of a row" {
	for words in 1 9999; do # less than a buffer, and more
		pretend pass $words
		run sh -c "'${DPO_PYTHON:-python3}' '$root/pipelines/from-parquet' x.parquet 2>&1 > /dev/full"
		echo "$output"
		[ "$status" -eq 1 ]
		[ "$output" = "from-parquet: standard output: No space left on device" ]
	done
	pretend pass
	run bash -c "ulimit -f 4; PYTHONUNBUFFERED=1 '${DPO_PYTHON:-python3}' '$root/pipelines/from-parquet' x.parquet 2>&1 > out"
	[ "$status" -eq 1 ]
	[ "$output" = "from-parquet: standard output: File too large" ]
	pretend 'raise ValueError("a bad page")' 1
	run sh -c "'${DPO_PYTHON:-python3}' '$root/pipelines/from-parquet' x.parquet 2>&1 > /dev/full"
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "from-parquet: x.parquet: row 1: a bad page" ]
}
