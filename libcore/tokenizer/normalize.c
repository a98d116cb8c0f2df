#include "tokenizer/normalize.h"

#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"
#include "tokenizer/normalform.h"
#include "tokenizer/regex.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum kind { PREPEND, REPLACE, REPLACE_REGEX, STRIP, STRIP_ACCENTS, LOWERCASE, UNICODE, CHARSMAP };

struct dpo_normalizer_step {
	enum kind kind;
	char *pattern;			/* owned; REPLACE: what is replaced */
	char *content;			/* owned; PREPEND, REPLACE, REPLACE_REGEX */
	struct dpo_regex *regex;	/* owned; REPLACE_REGEX */
	enum dpo_normal_form form;	/* UNICODE */
	bool left, right;		/* STRIP */
	struct dpo_charsmap map;	/* owned; CHARSMAP */
};

/* ------------------------------------------------------------------ reading */

/* A new step at the end, all of it 0 but its kind. */
static enum dpo_status
add(struct dpo_normalizer *normalizer, enum kind kind, struct dpo_normalizer_step **step, struct dpo_error *err)
{
	void *steps = normalizer->steps;

	if (!dpo_size_grow(&steps, &normalizer->capacity, normalizer->count + 1, sizeof **step))
		return dpo_fail_memory(err);
	normalizer->steps = steps;
	*step = &normalizer->steps[normalizer->count++];
	**step = (struct dpo_normalizer_step){ .kind = kind };
	return DPO_OK;
}

static enum dpo_status
set(char **text, const char *value, struct dpo_error *err)
{
	return (*text = dpo_size_copy(value, strlen(value))) ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
read_prepend(struct dpo_normalizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;
	const char *text;

	status = dpo_json_string(&text, spec, "prepend", err);
	return status == DPO_OK ? set(&step->content, text, err) : status;
}

static enum dpo_status
read_replace(struct dpo_normalizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	const cJSON *pattern = dpo_json_get(spec, "pattern");
	bool regex = dpo_json_get(pattern, "Regex");
	const char *from, *to;
	enum dpo_status status;

	if ((status = dpo_json_string(&from, pattern, regex ? "Regex" : "String", err)) != DPO_OK ||
	    (status = dpo_json_string(&to, spec, "content", err)) != DPO_OK ||
	    (status = set(&step->content, to, err)) != DPO_OK)
		return status;
	if (!*from)
		return dpo_fail(err, DPO_FORMAT, "normalizer Replace of an empty string");
	if (!regex)
		return set(&step->pattern, from, err);
	step->kind = REPLACE_REGEX;
	return dpo_regex_new(&step->regex, from, strlen(from), err);
}

static enum dpo_status
read_strip(struct dpo_normalizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_json_bool_or(&step->left, spec, "strip_left", true, err)) != DPO_OK)
		return status;
	return dpo_json_bool_or(&step->right, spec, "strip_right", true, err);
}

static enum dpo_status read_step(struct dpo_normalizer *, const cJSON *, struct dpo_error *);

static enum dpo_status
read_sequence(struct dpo_normalizer *normalizer, const cJSON *list, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"normalizers\" is not a list");
	cJSON_ArrayForEach(item, list)
		if (status == DPO_OK)
			status = read_step(normalizer, item, err);
	return status;
}

static enum dpo_status
read_step(struct dpo_normalizer *normalizer, const cJSON *spec, struct dpo_error *err)
{
	static const struct {
		const char *name;
		enum kind kind;
		enum dpo_normal_form form;
		enum dpo_status (*read)(struct dpo_normalizer_step *, const cJSON *, struct dpo_error *);
	} types[] = {
		{ "NFC", UNICODE, DPO_NFC, NULL }, { "NFD", UNICODE, DPO_NFD, NULL }, { "NFKC", UNICODE, DPO_NFKC, NULL },
		{ "NFKD", UNICODE, DPO_NFKD, NULL },
		{ "Prepend", PREPEND, 0, read_prepend }, { "Replace", REPLACE, 0, read_replace },
		{ "Strip", STRIP, 0, read_strip }, { "StripAccents", STRIP_ACCENTS, 0, NULL }, { "Lowercase", LOWERCASE, 0, NULL },
	};
	struct dpo_normalizer_step *step;
	enum dpo_status status;
	const char *type;

	if ((status = dpo_json_string(&type, spec, "type", err)) != DPO_OK)
		return status;
	if (strcmp(type, "Sequence") == 0)
		return read_sequence(normalizer, dpo_json_get(spec, "normalizers"), err);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(type, types[i].name) != 0)
			continue;
		if ((status = add(normalizer, types[i].kind, &step, err)) != DPO_OK)
			return status;
		step->form = types[i].form;
		return types[i].read ? types[i].read(step, spec, err) : DPO_OK;
	}
	return dpo_fail(err, DPO_UNSUPPORTED, "normalizer %.60s", type);
}

enum dpo_status
dpo_normalizer_read(struct dpo_normalizer *normalizer, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	*normalizer = (struct dpo_normalizer){ 0 };
	if (spec && !cJSON_IsNull(spec))
		status = read_step(normalizer, spec, err);
	if (status != DPO_OK)
		dpo_normalizer_free(normalizer);
	return status;
}

enum dpo_status
dpo_normalizer_nfc(struct dpo_normalizer *normalizer, struct dpo_error *err)
{
	struct dpo_normalizer_step *step = NULL;
	enum dpo_status status = add(normalizer, UNICODE, &step, err);

	if (status == DPO_OK)
		step->form = DPO_NFC;
	return status;
}

enum dpo_status
dpo_normalizer_charsmap(struct dpo_normalizer *normalizer, struct dpo_charsmap *map, struct dpo_error *err)
{
	struct dpo_normalizer_step *step = NULL;
	enum dpo_status status = add(normalizer, CHARSMAP, &step, err);

	if (status == DPO_OK)
		step->map = *map;
	else
		dpo_charsmap_free(map);
	*map = (struct dpo_charsmap){ 0 };
	return status;
}

void
dpo_normalizer_free(struct dpo_normalizer *normalizer)
{
	for (size_t i = 0; i < normalizer->count; i++) {
		struct dpo_normalizer_step *step = &normalizer->steps[i];

		free(step->pattern);
		free(step->content);
		dpo_regex_free(step->regex);
		dpo_charsmap_free(&step->map);
	}
	free(normalizer->steps);
	*normalizer = (struct dpo_normalizer){ 0 };
}

/* ------------------------------------------------------------------ applying */

static void
replace(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out, bool *cut)
{
	size_t length = strlen(step->pattern), from = 0, at = 0;

	while (n - at >= length) {
		const char *hit = memchr(text + at, step->pattern[0], n - at - length + 1);

		if (!hit)
			break;
		at = (size_t)(hit - text);
		if (memcmp(hit, step->pattern, length) != 0) {
			at++;
			continue;
		}
		dpo_buffer_append(out, text + from, at - from);
		dpo_buffer_string(out, step->content);
		*cut |= at == 0 && !*step->content;
		from = at += length;
	}
	dpo_buffer_append(out, text + from, n - from);
}

/* Each match becomes the content, an empty one, too. */
static enum dpo_status
replace_matches(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out, bool *cut,
    struct dpo_error *err)
{
	struct dpo_regex_scratch *scratch = dpo_regex_scratch_new();
	struct dpo_regex_walk walk = { .text = text, .n = n };
	size_t done = 0, start, end;
	enum dpo_status status = scratch ? DPO_OK : dpo_fail_memory(err);

	while (status == DPO_OK && (status = dpo_regex_next(step->regex, scratch, &walk, &start, &end, err)) == DPO_OK) {
		dpo_buffer_append(out, text + done, start - done);
		dpo_buffer_string(out, step->content);
		*cut |= start == 0 && end > 0 && !*step->content;
		done = end;
	}
	dpo_buffer_append(out, text + done, n - done);
	dpo_regex_scratch_free(scratch);
	return status == DPO_END ? DPO_OK : status;
}

static void
strip(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out, bool *cut)
{
	size_t start = 0, end = n, last, length;
	uint32_t code;

	while (step->left && start < n && (length = dpo_utf8_next((const uint8_t *)text + start, n - start, &code)) &&
	    dpo_utf8_space(code))
		start += length;
	while (step->right && end > start) {
		for (last = end - 1; last > start && ((uint8_t)text[last] & 0xc0) == 0x80;)
			last--;
		if (!dpo_utf8_next((const uint8_t *)text + last, end - last, &code) || !dpo_utf8_space(code))
			break;
		end = last;
	}
	dpo_buffer_append(out, text + start, end - start);
	*cut |= start > 0;
}

/* Each character on its own: lower case, or gone if it is a mark. */
static void
each_character(enum kind kind, const char *text, size_t n, struct dpo_buffer *out, bool *cut)
{
	uint8_t utf8[4];
	uint32_t code;

	for (size_t at = 0, length; at < n && (length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) > 0;
	    at += length) {
		utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);

		if (kind == STRIP_ACCENTS && (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
		    category == UTF8PROC_CATEGORY_ME)) {
			*cut |= at == 0;
			continue;
		}
		if (kind == LOWERCASE && code == 0x130)	/* the only one that becomes two characters */
			dpo_buffer_string(out, "i\xcc\x87");
		else if (kind == LOWERCASE)
			dpo_buffer_append(out, utf8, dpo_utf8_put(utf8, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code)));
		else
			dpo_buffer_append(out, text + at, length);
	}
}

/* One step; *cut becomes true if what the text began with is gone. */
static enum dpo_status
apply(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out, bool *cut,
    struct dpo_error *err)
{
	switch (step->kind) {
	case PREPEND:
		if (n > 0)
			dpo_buffer_string(out, step->content);
		dpo_buffer_append(out, text, n);
		return DPO_OK;
	case REPLACE:
		replace(step, text, n, out, cut);
		return DPO_OK;
	case REPLACE_REGEX:
		return replace_matches(step, text, n, out, cut, err);
	case STRIP:
		strip(step, text, n, out, cut);
		return DPO_OK;
	case STRIP_ACCENTS:
	case LOWERCASE:
		each_character(step->kind, text, n, out, cut);
		return DPO_OK;
	case CHARSMAP:
		dpo_charsmap_apply(&step->map, text, n, out);
		return DPO_OK;
	case UNICODE:
		break;
	}
	return dpo_normal_form(step->form, text, n, DPO_NORMALIZE_MAX / 4, out, err);
}

enum dpo_status
dpo_normalize(const struct dpo_normalizer *normalizer, const char *text, size_t n, struct dpo_buffer *out, bool *cut,
    struct dpo_error *err)
{
	struct dpo_buffer before = { 0 };
	enum dpo_status status = DPO_OK;

	*cut = false;
	dpo_buffer_clear(out);
	dpo_buffer_append(out, text, n);
	for (size_t i = 0; i < normalizer->count && status == DPO_OK; i++) {
		struct dpo_buffer swap = before;

		before = *out;
		*out = swap;
		dpo_buffer_clear(out);
		status = apply(&normalizer->steps[i], before.data ? (const char *)before.data : "", before.len, out, cut,
		    err);
		if (status == DPO_OK && out->len > DPO_NORMALIZE_MAX)
			status = dpo_fail(err, DPO_LIMIT, "text normalizes to more than %zu bytes", DPO_NORMALIZE_MAX);
		if (status == DPO_OK && (before.failed || out->failed))
			status = dpo_fail_memory(err);
	}
	dpo_buffer_free(&before);
	return status != DPO_OK || !out->failed ? status : dpo_fail_memory(err);
}
