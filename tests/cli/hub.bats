#!/usr/bin/env bats
# Models by name: where -m ORG/NAME is looked for, and fetch-model, which puts it there, against a hub on this machine.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	cd "$BATS_TEST_TMPDIR"
	unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HOME XDG_CACHE_HOME HF_TOKEN
	export HOME=$PWD/home http_proxy= no_proxy='*'
}

teardown() {
	[ -z "${hub:-}" ] || kill "$hub"
}

start_hub() {
	mkdir served
	cp "$root"/testdata/story/config.json "$root"/testdata/story/tokenizer*.json "$root"/testdata/story/model.safetensors served/
	echo "not fetched" > served/README.md
	python3 "$root/tests/hub.py" served address 3>&- &
	hub=$!
	for _ in $(seq 100); do
		[ ! -s address ] || break
		sleep 0.05
	done
	HF_ENDPOINT=$(cat address)
	export HF_ENDPOINT
}

fetch() {
	"$root/pipelines/fetch-model" "$@"
}

rows() { # with -m $1
	echo '{"prompt":"One","chosen":" day","rejected":" night"}' | "$bin/dpo-tok" -q -m "$1"
}

@test "a name is looked for in HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME, in this order" {
	rows "$root/testdata/story" > wanted
	# From the last place to the first; the one before is emptied, so only the right one serves.
	for place in home/.cache/huggingface/hub xdg/huggingface/hub hf/hub cache; do
		[ "$place" = home/.cache/huggingface/hub ] || rm "$last/snapshots/c1"
		last=$place/models--org--name
		mkdir -p "$last/refs" "$last/snapshots"
		printf c1 > "$last/refs/main"
		ln -s "$root/testdata/story" "$last/snapshots/c1"
		case $place in
		xdg*) export XDG_CACHE_HOME=$PWD/xdg ;;
		hf*) export HF_HOME=$PWD/hf ;;
		cache) export HF_HUB_CACHE=cache ;;
		esac
		rows org/name | cmp - wanted
	done
}

@test "revisions: a branch, a tag with a slash, a commit; a path that exists wins; names without ORG" {
	folder=cache/models--org--name
	export HF_HUB_CACHE=cache
	mkdir -p $folder/refs/pr $folder/snapshots cache/models--gpt2/refs cache/models--gpt2/snapshots
	ln -s "$root/testdata/story" $folder/snapshots/c2
	ln -s "$root/testdata/story" cache/models--gpt2/snapshots/c3
	printf 'c2\n' > $folder/refs/pr/1
	printf c3 > cache/models--gpt2/refs/main
	rows "$root/testdata/story" > wanted
	for name in org/name@pr/1 org/name@c2 gpt2; do
		rows $name | cmp - wanted
	done
	"$bin/dpo-export" -q -f safetensors org/name@c2 | cmp - <("$bin/dpo-export" -q -f safetensors "$root/testdata/story")
	mkdir -p org/name
	run rows org/name
	[ "$status" -eq 3 ]
	[[ "$output" == "dpo-tok: org/name"* ]]
}

@test "a name that is nowhere: one line says where it was looked for and how to fetch it" {
	run rows org/name@v2
	[ "$status" -eq 1 ]
	[ "$output" = "dpo-tok: org/name@v2: no such file, and no model of that name in $HOME/.cache/huggingface/hub; pipelines/fetch-model org/name@v2 fetches it" ]
	for name in ./org/name /org a/b/c org/.. ../x org/name@../../x org//name 'org/na me'; do
		run rows "$name"
		[ "$status" -eq 1 ]
		[ "$output" = "dpo-tok: $name: No such file or directory" ]
	done
	export HF_HUB_CACHE=cache
	mkdir -p cache/models--org--name/refs
	printf '../../../..' > cache/models--org--name/refs/main
	run rows org/name
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-tok: cache/models--org--name/refs/main: names no commit" ]
}

@test "fetch-model: the files a model needs, checked, in the hub's layout; then nothing more is fetched" {
	start_hub
	run fetch org/name
	echo "$output"
	[ "$status" -eq 0 ]
	folder=$HOME/.cache/huggingface/hub/models--org--name
	[ "$(cat $folder/refs/main)" = 0123456789abcdef0123456789abcdef01234567 ]
	[ "${lines[-1]}" = "$folder/snapshots/0123456789abcdef0123456789abcdef01234567" ]
	[ "$(ls "${lines[-1]}" | tr '\n' ' ')" = "config.json model.safetensors tokenizer.json tokenizer_config.json " ]
	[ "$(readlink "${lines[-1]}/model.safetensors")" = "../../blobs/$(sha256sum served/model.safetensors | cut -d ' ' -f 1)" ]
	[ "$(ls $folder/blobs | wc -l)" -eq 4 ]
	diff <(rows org/name) <(rows "$root/testdata/story")
	[ "$(wc -l < served/.requests)" -eq 4 ]
	touch -d yesterday $folder/refs/main
	fetch org/name
	[ served -nt $folder/refs/main ]
	fetch org/name@v1
	[ "$(wc -l < served/.requests)" -eq 4 ]
	rows org/name@v1 | cmp - <(rows org/name)
	HF_HUB_CACHE=other HF_TOKEN=secret fetch org/name
	[ "$(tail -4 served/.requests | grep -c 'Bearer secret$')" -eq 4 ]
}

@test "fetch-model: a transfer that breaks off goes on where it stopped, from zero where the server cannot" {
	start_hub
	for faults in "cut 1000000" "cut 1000000 norange"; do
		export HF_HUB_CACHE=$PWD/cache-${faults##* }
		echo "$faults" > served/.faults
		run fetch org/name
		echo "$output"
		[ "$status" -eq 1 ]
		[ ! -e "$HF_HUB_CACHE/models--org--name/refs/main" ]
		for name in org/name org/name@0123456789abcdef0123456789abcdef01234567; do
			run rows $name
			[ "$status" -eq 1 ]
			[[ "$output" == *"no such file, and no model of that name in "* ]]
		done
		part=$(echo "$HF_HUB_CACHE"/models--org--name/blobs/*.incomplete)
		[ "$(stat -c %s "$part")" -ge 1000000 ]
		: > served/.requests
		echo "${faults#cut 1000000}" > served/.faults
		fetch org/name
		grep -q 'model.safetensors bytes=[1-9]' served/.requests
		cmp "$HF_HUB_CACHE"/models--org--name/snapshots/*/model.safetensors served/model.safetensors
		[ ! -e "$part" ]
		[ "$(ls -A "$HF_HUB_CACHE"/models--org--name/snapshots)" = 0123456789abcdef0123456789abcdef01234567 ]
	done
}

@test "fetch-model: a directory of the commit that has a part of the files, or others, gets what it lacks" {
	start_hub
	snapshot=$(fetch org/name)
	rm "$snapshot/tokenizer.json"
	echo kept > "$snapshot/README.md"
	ln -sf nowhere "$snapshot/config.json"
	[ "$(fetch org/name)" = "$snapshot" ]
	[ "$(ls "$snapshot" | tr '\n' ' ')" = "README.md config.json model.safetensors tokenizer.json tokenizer_config.json " ]
	cmp "$snapshot/config.json" served/config.json
	[ "$(ls -A "$snapshot/..")" = "$(basename "$snapshot")" ]
}

@test "fetch-model: a damaged file, a name that leads outside, a model or a hub that is not there" {
	start_hub
	echo damage > served/.faults
	run fetch org/name
	[ "$status" -eq 1 ]
	[[ "${lines[-1]}" == *"model.safetensors: not the file the hub describes"* ]]
	[ "$(ls "$HOME"/.cache/huggingface/hub/models--org--name/blobs | grep -c incomplete)" -eq 0 ]
	echo escape > served/.faults
	run fetch org/name
	[ "$status" -eq 1 ]
	[[ "$output" == *"not the answer of a hub: additional_chat_templates/../../x.jinja" ]]
	run fetch org/other
	[ "$status" -eq 1 ]
	[[ "$output" == *"404"* ]]
	run fetch ../x
	[ "$status" -eq 2 ]
	rm served/model.safetensors
	run fetch org/name
	[ "$status" -eq 1 ]
	[[ "$output" == "fetch-model: org/name: has neither safetensors nor PyTorch weights" ]]
	HF_ENDPOINT=http://127.0.0.1:1 run fetch org/name
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
}
