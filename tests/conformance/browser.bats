#!/usr/bin/env bats
# A page of pipelines/report in a real browser: headless Chromium, without a network.

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export root bin=${DPO_BIN:-$root/bin}
	command -v chromium > /dev/null || return 0
	cd "$BATS_FILE_TMPDIR"
	head -48 "$root/testdata/story/train.jsonl" > train.jsonl
	head -8 "$root/testdata/story/heldout.jsonl" > heldout.jsonl
	make -s -f "$root/pipelines/dpo.mk" DPO_BIN="$bin" MODEL="$root/testdata/story" TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run \
		LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 LOGGING_STEPS=1 SHOWN=3 GEN="$bin/dpo-gen --max-new-tokens 24" report >&2
}

setup() {
	command -v chromium > /dev/null || skip "no chromium (apt-get install chromium)"
	cd "$BATS_FILE_TMPDIR"
}

# browse PAGE WIDTH [OPTION...]: the page as it is when it has loaded, to `dom`; what the browser says to `said`.
browse() {
	page=$1 width=$2
	shift 2
	chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/profile" --window-size="$width,900" \
		--host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr "$@" --dump-dom "file://$PWD/$page" > dom 2> said
}

# measured PAGE: a copy with a script that writes sizes into the page, which the page's own policy would not let run.
measured() {
	sed -e '/Content-Security-Policy/d' -e 's|</body>|<script>document.title = JSON.stringify({ width: innerWidth, \
		scroll: document.documentElement.scrollWidth, pictures: [...document.querySelectorAll("svg,img")].map(e => { \
		const b = e.getBoundingClientRect(), i = e.getBBox ? e.getBBox() : { width: e.naturalWidth, height: e.naturalHeight }; \
		return [b.width, b.height, i.width, i.height] }), paper: getComputedStyle(document.body).backgroundColor, \
		strokes: [...new Set([...document.querySelectorAll("path")].map(e => getComputedStyle(e).stroke))] })</script></body>|' "$1" > measured.html
}

@test "no word in the console; and one if the page held a script" {
	browse run/report.html 1100
	grep -q '<h1>Training run run</h1>' dom
	[ -z "$(grep CONSOLE said)" ]
	sed 's|</body>|<script>document.title = "run"</script><img src="https://a.example/x.png"></body>|' run/report.html > script.html
	browse script.html 1100
	[ "$(grep -c 'CONSOLE.*Content Security Policy' said)" -ge 2 ]
	[ -z "$(grep '<title>run</title>' dom)" ]
}

@test "all pictures are there and have a size, on a desk and on a phone, where nothing is wider than the screen" {
	measured run/report.html
	for width in 1100 500; do
		browse measured.html $width
		python3 -c 'import html, json, re, sys
seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", open("dom").read(), re.S)[1]))
print(seen)
assert seen["width"] == int(sys.argv[1]) and seen["scroll"] <= seen["width"]
assert len(seen["pictures"]) == 6
assert all(width > 200 and height > 130 and inner > 100 and tall > 100 for width, height, inner, tall in seen["pictures"])' $width
	done
}

@test "it is drawn, light or dark as the reader's screen is" {
	measured run/report.html
	for scheme in 1 0; do
		browse measured.html 1100 --blink-settings=preferredColorScheme=$scheme
		python3 -c 'import html, json, re, sys
seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", open("dom").read(), re.S)[1]))
print(seen["paper"], seen["strokes"])
light = sys.argv[1] == "1"
paper = [int(x) for x in re.findall(r"\d+", seen["paper"])]
assert min(paper) > 200 if light else max(paper) < 60
assert ("rgb(47, 120, 183)" if light else "rgb(105, 170, 226)") in seen["strokes"]' $scheme
		chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/profile" --window-size=1100,2000 \
			--blink-settings=preferredColorScheme=$scheme --screenshot="$PWD/$scheme.png" "file://$PWD/run/report.html" 2> said
		[ "$(wc -c < $scheme.png)" -gt 40000 ] # an empty page has a tenth of that
	done
}
