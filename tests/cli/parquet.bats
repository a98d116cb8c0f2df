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

# Write rows.parquet with the package, and read it back with that one alone.
there_and_back() { # PACKAGE OTHER
	python -c "import $1" 2>/dev/null || skip "$1 is not installed"
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
	[[ "$output" == "from-parquet stopped here"*"from-parquet: cut.parquet: "* ]]
}

@test "from-parquet with pyarrow" {
	python - <<-'END' 2>/dev/null || skip "pyarrow is not installed"
	import json, pyarrow, pyarrow.parquet
	rows = [json.loads(line) for line in open("rows.jsonl")]
	pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "rows.parquet")
	END
	there_and_back pyarrow duckdb
}

@test "from-parquet with duckdb" {
	python - <<-'END' 2>/dev/null || skip "duckdb is not installed"
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
	[[ "$output" == *"from-parquet: neither pyarrow nor duckdb is installed (pip install pyarrow)" ]]
}

@test "dpo-tok names the stage when it meets a Parquet file" {
	printf 'PAR1\0\0\0' > x.parquet
	run "$bin/dpo-tok" -m "$root/testdata/story" x.parquet
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-tok: x.parquet: a Parquet file; pipelines/from-parquet writes it as JSON Lines" ]
}
