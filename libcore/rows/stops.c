#include "rows/stops.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ EOS ids */

static enum dpo_status
add_of_file(struct dpo_ids *eos, const struct dpo_files *files, const char *name, struct dpo_error *err)
{
	const struct dpo_named_file *file = dpo_files_find(files, name);
	enum dpo_status status;
	const cJSON *ids;
	int64_t id = -1;
	cJSON *tree;

	if (!file)
		return DPO_OK;
	if ((status = dpo_json_parse(&tree, (const char *)file->bytes, file->n, err)) != DPO_OK)
		return dpo_error_prefix(err, "%s", name);
	ids = dpo_json_get(tree, "eos_token_id");
	if (cJSON_IsArray(ids))
		status = dpo_json_ids(eos, ids, "eos_token_id", err);
	else
		status = dpo_json_integer_or(&id, tree, "eos_token_id", 0, INT32_MAX, -1, err);
	if (status == DPO_OK && id >= 0 && !dpo_ids_add(eos, (int32_t)id))
		status = dpo_fail_memory(err);
	cJSON_Delete(tree);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", name);
}

enum dpo_status
dpo_stops_eos(struct dpo_ids *eos, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
    struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = add_of_file(eos, files, "generation_config.json", err)) != DPO_OK ||
	    (status = add_of_file(eos, files, "config.json", err)) != DPO_OK)
		return status;
	if (tokenizer && dpo_tokenizer_eos(tokenizer) >= 0 && !dpo_ids_add(eos, dpo_tokenizer_eos(tokenizer)))
		return dpo_fail_memory(err);
	return DPO_OK;
}

/* ------------------------------------------------------------------ stop strings */

enum { MORE = 8 };	/* tokens looked at beyond those that must be */

/* Where the first stop string begins in the text, or its end. */
static size_t
first_stop(const struct dpo_stops *stops, const char *text, size_t n)
{
	size_t first = n;

	for (size_t i = 0; stops && i < stops->count; i++) {
		const char *at = strstr(text, stops->strings[i]);

		if (at && (size_t)(at - text) < first)
			first = (size_t)(at - text);
	}
	return first;
}

static size_t
longest_stop(const struct dpo_stops *stops)
{
	size_t longest = 0;

	for (size_t i = 0; i < stops->count; i++)
		longest = strlen(stops->strings[i]) > longest ? strlen(stops->strings[i]) : longest;
	return longest;
}

static bool
begins_with(const struct dpo_buffer *text, const struct dpo_buffer *beginning)
{
	return beginning->len == 0 ||
	    (text->len >= beginning->len && memcmp(text->data, beginning->data, beginning->len) == 0);
}

/* The text of prompt and completion together, less that of the prompt. */
static enum dpo_status
added_text(const struct dpo_tokenizer *tokenizer, const int32_t *prompt, size_t n_prompt, const int32_t *ids, size_t n,
    struct dpo_buffer *text, struct dpo_error *err)
{
	struct dpo_buffer alone = { 0 };
	struct dpo_ids all = { 0 };
	enum dpo_status status = dpo_tokenizer_decode(tokenizer, prompt, n_prompt, &alone, err);
	bool fits = true;

	for (size_t i = 0; i < n_prompt && fits; i++)
		fits = dpo_ids_add(&all, prompt[i]);
	for (size_t i = 0; i < n && fits; i++)
		fits = dpo_ids_add(&all, ids[i]);
	if (status == DPO_OK)
		status = fits ? dpo_tokenizer_decode(tokenizer, all.ids, all.count, text, err) : dpo_fail_memory(err);
	if (status == DPO_OK && begins_with(text, &alone)) {
		text->len -= alone.len;
		if (alone.len > 0)
			memmove(text->data, text->data + alone.len, text->len);
	} else if (status == DPO_OK) {
		dpo_buffer_clear(text);
		status = dpo_tokenizer_decode(tokenizer, ids, n, text, err);
	}
	dpo_buffer_free(&alone);
	free(all.ids);
	return status;
}

/* Append that text up to the first stop string, each NUL as U+FFFD: no JSON that we read holds a NUL. */
static enum dpo_status
text_to_stop(const struct dpo_tokenizer *tokenizer, const struct dpo_stops *stops, const int32_t *prompt, size_t n_prompt,
    const int32_t *ids, size_t n, struct dpo_buffer *out, bool *stop, struct dpo_error *err)
{
	struct dpo_buffer raw = { 0 }, text = { 0 };
	enum dpo_status status = added_text(tokenizer, prompt, n_prompt, ids, n, &raw, err);
	size_t end;

	for (size_t i = 0; i < raw.len; i++)
		if (raw.data[i])
			dpo_buffer_byte(&text, raw.data[i]);
		else
			dpo_buffer_string(&text, "\xef\xbf\xbd");
	if (status == DPO_OK) {
		end = first_stop(stops, dpo_buffer_text(&text), text.len);
		*stop = end < text.len;
		dpo_buffer_append(out, dpo_buffer_text(&text), end);
		status = out->failed || text.failed ? dpo_fail_memory(err) : DPO_OK;
	}
	dpo_buffer_free(&raw);
	dpo_buffer_free(&text);
	return status;
}

enum dpo_status
dpo_stops_seen(void *context, const struct dpo_ids *prompt, const struct dpo_ids *completion, bool *stop,
    struct dpo_error *err)
{
	const struct dpo_stops *stops = context;
	/* Tokens have a byte at least, but for the odd one: the last of these hold all of a stop that the newest ended. */
	size_t tail = longest_stop(stops) + MORE, before = 0;
	struct dpo_buffer out = { 0 };
	enum dpo_status status;

	/* A decoder may treat the first token of all in its own way: in front of the completion stands the prompt. */
	if (completion->count <= tail) {
		tail = completion->count;
		before = prompt->count < MORE ? prompt->count : MORE;
	}
	status = text_to_stop(stops->tokenizer, stops, prompt->ids + prompt->count - before, before,
	    completion->ids + completion->count - tail, tail, &out, stop, err);
	dpo_buffer_free(&out);
	return status;
}

enum dpo_status
dpo_stops_text(const struct dpo_tokenizer *tokenizer, const struct dpo_stops *stops, const struct dpo_ids *prompt,
    const int32_t *ids, size_t n, struct dpo_buffer *out, struct dpo_error *err)
{
	bool stop;

	return text_to_stop(tokenizer, stops, prompt->ids, prompt->count, ids, n, out, &stop, err);
}
