#include "normalize.h"

#include "json.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum kind { PREPEND, REPLACE, UNICODE };

struct dpo_normalizer_step {
	enum kind kind;
	char *pattern;		/* owned; REPLACE: what is replaced */
	char *content;		/* owned; PREPEND, REPLACE */
	utf8proc_option_t form;	/* UNICODE */
};

/* ------------------------------------------------------------------ reading */

static enum dpo_status
add(struct dpo_normalizer *normalizer, enum kind kind, const char *pattern, const char *content,
    utf8proc_option_t form, struct dpo_error *err)
{
	struct dpo_normalizer_step *step;
	void *steps = normalizer->steps;

	if (!dpo_size_grow(&steps, &normalizer->capacity, normalizer->count + 1, sizeof *step))
		return dpo_fail_memory(err);
	normalizer->steps = steps;
	step = &normalizer->steps[normalizer->count++];
	*step = (struct dpo_normalizer_step){ .kind = kind, .form = form,
		.pattern = dpo_size_copy(pattern, strlen(pattern)), .content = dpo_size_copy(content, strlen(content)) };
	return step->pattern && step->content ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
add_replace(struct dpo_normalizer *normalizer, const cJSON *spec, struct dpo_error *err)
{
	const cJSON *pattern = dpo_json_get(spec, "pattern");
	const char *from, *to;
	enum dpo_status status;

	if (dpo_json_get(pattern, "Regex"))
		return dpo_fail(err, DPO_UNSUPPORTED, "normalizer Replace with a regular expression");
	if ((status = dpo_json_string(&from, pattern, "String", err)) != DPO_OK ||
	    (status = dpo_json_string(&to, spec, "content", err)) != DPO_OK)
		return status;
	if (!*from)
		return dpo_fail(err, DPO_FORMAT, "normalizer Replace of an empty string");
	return add(normalizer, REPLACE, from, to, 0, err);
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
	static const struct { const char *name; utf8proc_option_t form; } forms[] = {
		{ "NFC", UTF8PROC_COMPOSE }, { "NFD", UTF8PROC_DECOMPOSE },
		{ "NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT }, { "NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT },
	};
	enum dpo_status status;
	const char *type, *text;

	if ((status = dpo_json_string(&type, spec, "type", err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (strcmp(type, forms[i].name) == 0)
			return add(normalizer, UNICODE, "", "", forms[i].form, err);
	if (strcmp(type, "Sequence") == 0)
		return read_sequence(normalizer, dpo_json_get(spec, "normalizers"), err);
	if (strcmp(type, "Replace") == 0)
		return add_replace(normalizer, spec, err);
	if (strcmp(type, "Prepend") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "normalizer %.60s", type);
	if ((status = dpo_json_string(&text, spec, "prepend", err)) != DPO_OK)
		return status;
	return add(normalizer, PREPEND, "", text, 0, err);
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
	return add(normalizer, UNICODE, "", "", UTF8PROC_COMPOSE, err);
}

void
dpo_normalizer_free(struct dpo_normalizer *normalizer)
{
	for (size_t i = 0; i < normalizer->count; i++) {
		free(normalizer->steps[i].pattern);
		free(normalizer->steps[i].content);
	}
	free(normalizer->steps);
	*normalizer = (struct dpo_normalizer){ 0 };
}

/* ------------------------------------------------------------------ applying */

static void
replace(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out)
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
		from = at += length;
	}
	dpo_buffer_append(out, text + from, n - from);
}

/* One of Unicode's four normalization forms (UAX #15). */
static enum dpo_status
normal_form(utf8proc_option_t form, const char *text, size_t n, struct dpo_buffer *out, struct dpo_error *err)
{
	utf8proc_option_t options = UTF8PROC_STABLE | form;
	utf8proc_ssize_t count;
	utf8proc_int32_t *codes;
	uint8_t utf8[4];

	count = utf8proc_decompose((const uint8_t *)text, (utf8proc_ssize_t)n, NULL, 0, options);
	if (count < 0)
		return dpo_fail(err, DPO_FORMAT, "normalization: %s", utf8proc_errmsg(count));
	if ((size_t)count > DPO_NORMALIZE_MAX / 4)
		return dpo_fail(err, DPO_LIMIT, "text normalizes to %zu characters", (size_t)count);
	if (!(codes = dpo_alloc((size_t)count + 1, sizeof *codes)))
		return dpo_fail_memory(err);
	count = utf8proc_decompose((const uint8_t *)text, (utf8proc_ssize_t)n, codes, count, options);
	if (count > 0)
		count = utf8proc_normalize_utf32(codes, count, options);
	for (utf8proc_ssize_t i = 0; i < count; i++)
		dpo_buffer_append(out, utf8, dpo_utf8_put(utf8, (uint32_t)codes[i]));
	free(codes);
	return count < 0 ? dpo_fail(err, DPO_FORMAT, "normalization: %s", utf8proc_errmsg(count)) : DPO_OK;
}

static enum dpo_status
apply(const struct dpo_normalizer_step *step, const char *text, size_t n, struct dpo_buffer *out,
    struct dpo_error *err)
{
	switch (step->kind) {
	case PREPEND:
		if (n > 0)
			dpo_buffer_string(out, step->content);
		dpo_buffer_append(out, text, n);
		return DPO_OK;
	case REPLACE:
		replace(step, text, n, out);
		return DPO_OK;
	case UNICODE:
		break;
	}
	return normal_form(step->form, text, n, out, err);
}

enum dpo_status
dpo_normalize(const struct dpo_normalizer *normalizer, const char *text, size_t n, struct dpo_buffer *out,
    struct dpo_error *err)
{
	struct dpo_buffer before = { 0 };
	enum dpo_status status = DPO_OK;

	dpo_buffer_clear(out);
	dpo_buffer_append(out, text, n);
	for (size_t i = 0; i < normalizer->count && status == DPO_OK; i++) {
		struct dpo_buffer swap = before;

		before = *out;
		*out = swap;
		dpo_buffer_clear(out);
		status = apply(&normalizer->steps[i], before.data ? (const char *)before.data : "", before.len, out, err);
		if (status == DPO_OK && out->len > DPO_NORMALIZE_MAX)
			status = dpo_fail(err, DPO_LIMIT, "text normalizes to more than %zu bytes", DPO_NORMALIZE_MAX);
		if (status == DPO_OK && (before.failed || out->failed))
			status = dpo_fail_memory(err);
	}
	dpo_buffer_free(&before);
	return status != DPO_OK || !out->failed ? status : dpo_fail_memory(err);
}
