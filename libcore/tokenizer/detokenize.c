#include "tokenizer/detokenize.h"

#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"
#include "tokenizer/pretokenize.h"

#include <stdlib.h>
#include <string.h>

enum kind { BYTE_LEVEL, METASPACE, REPLACE, BYTE_FALLBACK, FUSE, STRIP, SEQUENCE };

struct dpo_detokenizer_step {
	enum kind kind;
	char *pattern;		/* owned; REPLACE; METASPACE: the replacement; STRIP: the character */
	char *content;		/* owned; REPLACE */
	int64_t start, stop;	/* STRIP: at most that many; METASPACE: start 1 if the first token loses them */
};

static const char unknown[] = "\xef\xbf\xbd";	/* U+FFFD */

/* ------------------------------------------------------------------ texts */

static void
end_text(struct dpo_texts *texts)
{
	void *ends = texts->ends;

	if (!dpo_size_grow(&ends, &texts->capacity, texts->count + 1, sizeof *texts->ends)) {
		texts->bytes.failed = true;
		return;
	}
	texts->ends = ends;
	texts->ends[texts->count++] = texts->bytes.len;
}

void
dpo_texts_add(struct dpo_texts *texts, const char *text, size_t n)
{
	dpo_buffer_append(&texts->bytes, text, n);
	end_text(texts);
}

void
dpo_texts_free(struct dpo_texts *texts)
{
	dpo_buffer_free(&texts->bytes);
	free(texts->ends);
	*texts = (struct dpo_texts){ 0 };
}

static const char *
text_at(const struct dpo_texts *texts, size_t i, size_t *n)
{
	size_t start = i ? texts->ends[i - 1] : 0;

	*n = texts->ends[i] - start;
	return *n ? (const char *)texts->bytes.data + start : "";
}

/* ------------------------------------------------------------------ reading */

static enum dpo_status
add(struct dpo_detokenizer *detokenizer, struct dpo_detokenizer_step step, const char *pattern, const char *content,
    struct dpo_error *err)
{
	void *steps = detokenizer->steps;

	if (!dpo_size_grow(&steps, &detokenizer->capacity, detokenizer->count + 1, sizeof step))
		return dpo_fail_memory(err);
	detokenizer->steps = steps;
	step.pattern = dpo_size_copy(pattern, strlen(pattern));
	step.content = dpo_size_copy(content, strlen(content));
	detokenizer->steps[detokenizer->count++] = step;
	return step.pattern && step.content ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
add_replace(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
{
	const cJSON *pattern = dpo_json_get(spec, "pattern");
	struct dpo_detokenizer_step step = { .kind = REPLACE };
	const char *from, *to;
	enum dpo_status status;

	if (dpo_json_get(pattern, "Regex"))
		return dpo_fail(err, DPO_UNSUPPORTED, "decoder Replace with a regular expression");
	if ((status = dpo_json_string(&from, pattern, "String", err)) != DPO_OK ||
	    (status = dpo_json_string(&to, spec, "content", err)) != DPO_OK)
		return status;
	return *from ? add(detokenizer, step, from, to, err) :
	    dpo_fail(err, DPO_FORMAT, "decoder Replace of an empty string");
}

static enum dpo_status
add_strip(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
{
	struct dpo_detokenizer_step step = { .kind = STRIP };
	enum dpo_status status;
	const char *content;

	if ((status = dpo_json_string(&content, spec, "content", err)) != DPO_OK ||
	    (status = dpo_json_integer_or(&step.start, spec, "start", 0, INT32_MAX, 0, err)) != DPO_OK ||
	    (status = dpo_json_integer_or(&step.stop, spec, "stop", 0, INT32_MAX, 0, err)) != DPO_OK)
		return status;
	return *content ? add(detokenizer, step, content, "", err) :
	    dpo_fail(err, DPO_FORMAT, "decoder Strip of an empty string");
}

static enum dpo_status
add_metaspace(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
{
	struct dpo_detokenizer_step step = { .kind = METASPACE };
	const char *replacement, *scheme;
	enum dpo_status status;
	bool prefix;

	if ((status = dpo_json_string(&replacement, spec, "replacement", err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&prefix, spec, "add_prefix_space", true, err)) != DPO_OK ||
	    (status = dpo_json_string_or(&scheme, spec, "prepend_scheme", prefix ? "always" : "never", err)) != DPO_OK)
		return status;
	step.start = strcmp(scheme, "never") != 0;
	return *replacement ? add(detokenizer, step, replacement, "", err) :
	    dpo_fail(err, DPO_FORMAT, "decoder Metaspace of an empty string");
}

static enum dpo_status
read_step(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
{
	static const char *const types[] = { "ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip",
		"Sequence" };
	enum dpo_status status;
	const cJSON *item, *list;
	const char *type;
	size_t kind = 0;

	if ((status = dpo_json_string(&type, spec, "type", err)) != DPO_OK)
		return status;
	while (kind <= SEQUENCE && strcmp(types[kind], type) != 0)
		kind++;
	switch (kind) {
	case BYTE_LEVEL:
	case BYTE_FALLBACK:
	case FUSE:
		return add(detokenizer, (struct dpo_detokenizer_step){ .kind = (enum kind)kind }, "", "", err);
	case METASPACE:
		return add_metaspace(detokenizer, spec, err);
	case REPLACE:
		return add_replace(detokenizer, spec, err);
	case STRIP:
		return add_strip(detokenizer, spec, err);
	case SEQUENCE:
		break;
	default:
		return dpo_fail(err, DPO_UNSUPPORTED, "decoder %.60s", type);
	}
	list = dpo_json_get(spec, "decoders");
	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"decoders\" is not a list");
	cJSON_ArrayForEach(item, list)
		if (status == DPO_OK)
			status = read_step(detokenizer, item, err);
	return status;
}

enum dpo_status
dpo_detokenizer_read(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	*detokenizer = (struct dpo_detokenizer){ 0 };
	if (spec && !cJSON_IsNull(spec))
		status = read_step(detokenizer, spec, err);
	if (status != DPO_OK)
		dpo_detokenizer_free(detokenizer);
	return status;
}

enum dpo_status
dpo_detokenizer_byte_level(struct dpo_detokenizer *detokenizer, struct dpo_error *err)
{
	return add(detokenizer, (struct dpo_detokenizer_step){ .kind = BYTE_LEVEL }, "", "", err);
}

enum dpo_status
dpo_detokenizer_sentencepiece(struct dpo_detokenizer *detokenizer, bool strip, struct dpo_error *err)
{
	static const struct { struct dpo_detokenizer_step step; const char *pattern, *content; } steps[] = {
		{ { .kind = REPLACE }, "\xe2\x96\x81", " " }, { { .kind = BYTE_FALLBACK }, "", "" }, { { .kind = FUSE }, "", "" },
		{ { .kind = STRIP, .start = 1 }, " ", "" },
	};
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < (strip ? 4 : 3) && status == DPO_OK; i++)
		status = add(detokenizer, steps[i].step, steps[i].pattern, steps[i].content, err);
	return status;
}

void
dpo_detokenizer_free(struct dpo_detokenizer *detokenizer)
{
	for (size_t i = 0; i < detokenizer->count; i++) {
		free(detokenizer->steps[i].pattern);
		free(detokenizer->steps[i].content);
	}
	free(detokenizer->steps);
	*detokenizer = (struct dpo_detokenizer){ 0 };
}

/* ------------------------------------------------------------------ bytes that may not be UTF-8 */

/* The bytes at text[0..n) that one U+FFFD stands for: the longest start of a character, at least 1 (Unicode 15, 3.9). */
static size_t
bad_length(const uint8_t *text, size_t n)
{
	uint8_t lead = text[0], low = 0x80, high = 0xbf;
	size_t want = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
	size_t i = 1;

	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	for (; i < want && i < n && text[i] >= low && text[i] <= high; i++) {
		low = 0x80;
		high = 0xbf;
	}
	return i;
}

static void
append_lossy(struct dpo_buffer *out, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		size_t good = dpo_utf8_check(bytes, n), bad;

		dpo_buffer_append(out, bytes, good);
		bytes += good;
		n -= good;
		if (n == 0)
			break;
		bad = bad_length(bytes, n);
		dpo_buffer_string(out, unknown);
		bytes += bad;
		n -= bad;
	}
}

/* ------------------------------------------------------------------ steps: from one list of texts to the next */

/* All tokens become one text: their bytes, or the token's own text where it is not in the byte alphabet. */
static void
byte_level(const struct dpo_texts *from, struct dpo_texts *to)
{
	struct dpo_buffer raw = { 0 };
	size_t n, length;
	uint32_t code;

	for (size_t i = 0; i < from->count; i++) {
		const char *text = text_at(from, i, &n);
		size_t before = raw.len, at;
		int byte = 0;

		for (at = 0; at < n && byte >= 0; at += length) {
			if ((length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) == 0)
				break;
			if ((byte = dpo_pretokenize_char_byte(code)) >= 0)
				dpo_buffer_byte(&raw, (uint8_t)byte);
		}
		if (at < n || byte < 0) {
			raw.len = before;
			dpo_buffer_append(&raw, text, n);
		}
	}
	append_lossy(&to->bytes, raw.data, raw.len);
	to->bytes.failed |= raw.failed;
	end_text(to);
	dpo_buffer_free(&raw);
}

/* A pattern becomes a content in each text, or goes where content is NULL. */
static void
replace(const struct dpo_texts *from, struct dpo_texts *to, const char *pattern, const char *content, bool drop_first)
{
	size_t n, length = strlen(pattern);

	for (size_t i = 0; i < from->count; i++) {
		const char *text = text_at(from, i, &n);

		for (size_t at = 0; at < n;) {
			if (n - at < length || memcmp(text + at, pattern, length) != 0) {
				dpo_buffer_byte(&to->bytes, (uint8_t)text[at++]);
				continue;
			}
			if (i > 0 || !drop_first)
				dpo_buffer_string(&to->bytes, content);
			at += length;
		}
		end_text(to);
	}
}

/* The byte that "<0xHH>" names, or -1. */
static int
named_byte(const char *text, size_t n)
{
	char *end, digits[3];
	long value;

	if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || !strchr("0123456789abcdefABCDEF", text[3]))
		return -1;
	memcpy(digits, text + 3, 2);
	digits[2] = '\0';
	value = strtol(digits, &end, 16);
	return end == digits + 2 ? (int)value : -1;
}

/* A run of bytes: a text if it is UTF-8, else one U+FFFD a byte. */
static void
end_run(struct dpo_buffer *run, struct dpo_texts *to)
{
	if (run->len == 0)
		return;
	if (dpo_utf8_check(run->data, run->len) == run->len)
		dpo_buffer_append(&to->bytes, run->data, run->len);
	else
		for (size_t i = 0; i < run->len; i++)
			dpo_buffer_string(&to->bytes, unknown);
	end_text(to);
	dpo_buffer_clear(run);
}

static void
byte_fallback(const struct dpo_texts *from, struct dpo_texts *to)
{
	struct dpo_buffer run = { 0 };
	size_t n;

	for (size_t i = 0; i < from->count; i++) {
		const char *text = text_at(from, i, &n);
		int byte = named_byte(text, n);

		if (byte >= 0) {
			dpo_buffer_byte(&run, (uint8_t)byte);
			continue;
		}
		end_run(&run, to);
		dpo_texts_add(to, text, n);
	}
	to->bytes.failed |= run.failed;
	end_run(&run, to);
	dpo_buffer_free(&run);
}

static void
strip(const struct dpo_detokenizer_step *step, const struct dpo_texts *from, struct dpo_texts *to)
{
	size_t n, length = strlen(step->pattern);

	for (size_t i = 0; i < from->count; i++) {
		const char *text = text_at(from, i, &n);

		for (int64_t k = 0; k < step->start && n >= length && memcmp(text, step->pattern, length) == 0; k++) {
			text += length;
			n -= length;
		}
		for (int64_t k = 0; k < step->stop && n >= length &&
		    memcmp(text + n - length, step->pattern, length) == 0; k++)
			n -= length;
		dpo_texts_add(to, text, n);
	}
}

static void
apply(const struct dpo_detokenizer_step *step, const struct dpo_texts *from, struct dpo_texts *to)
{
	switch (step->kind) {
	case BYTE_LEVEL:
		byte_level(from, to);
		break;
	case METASPACE:
		replace(from, to, step->pattern, " ", step->start != 0);
		break;
	case REPLACE:
		replace(from, to, step->pattern, step->content, false);
		break;
	case BYTE_FALLBACK:
		byte_fallback(from, to);
		break;
	case STRIP:
		strip(step, from, to);
		break;
	case FUSE:
	case SEQUENCE:
		dpo_texts_add(to, from->bytes.len ? (const char *)from->bytes.data : "", from->bytes.len);
		break;
	}
}

enum dpo_status
dpo_detokenize(const struct dpo_detokenizer *detokenizer, struct dpo_texts *tokens, struct dpo_buffer *out,
    struct dpo_error *err)
{
	bool failed = tokens->bytes.failed;
	size_t n;

	for (size_t i = 0; i < detokenizer->count && !failed; i++) {
		struct dpo_texts next = { 0 };

		apply(&detokenizer->steps[i], tokens, &next);
		failed = next.bytes.failed;
		dpo_texts_free(tokens);
		*tokens = next;
	}
	for (size_t i = 0; i < tokens->count && !failed; i++) {
		const char *text = text_at(tokens, i, &n);

		if (i > 0 && detokenizer->count == 0)
			dpo_buffer_byte(out, ' ');
		dpo_buffer_append(out, text, n);
	}
	dpo_texts_free(tokens);
	return failed || out->failed ? dpo_fail_memory(err) : DPO_OK;
}
