#include "tokenizer/bulk.h"

#include "base/json.h"

#include <string.h>

/* One call of dpo_bulk_parse. */
struct cut {
	struct dpo_json_lexer lexer;
	size_t copied;			/* text before is in `rest` or left out */
	struct dpo_buffer rest;		/* the document without the bulks */
	struct dpo_buffer key;
	const char *const *names;
	struct dpo_bulk *bulks;
	size_t count;
};

static bool
is_key(const struct cut *cut, const char *name)
{
	return strlen(name) == cut->key.len && memcmp(name, cut->key.data, cut->key.len) == 0;
}

/* The bulk that the key just read names, or NULL. */
static struct dpo_bulk *
named(const struct cut *cut)
{
	for (size_t i = 0; i < cut->count; i++)
		if (is_key(cut, cut->names[i]))
			return &cut->bulks[i];
	return NULL;
}

/* Pass over the value that the lexer stands before; the value of a bulk becomes null. */
static enum dpo_status
pass_value(struct cut *cut, struct dpo_bulk *bulk, struct dpo_error *err)
{
	struct dpo_json_lexer *lexer = &cut->lexer;
	enum dpo_status status;

	if ((status = dpo_json_skip(lexer, err)) != DPO_OK || !bulk)
		return status;
	*bulk = (struct dpo_bulk){ lexer->text + lexer->start, lexer->length };
	dpo_buffer_append(&cut->rest, lexer->text + cut->copied, lexer->start - cut->copied);
	dpo_buffer_string(&cut->rest, "null");
	cut->copied = lexer->at;
	return DPO_OK;
}

/*
 * Pass over an object, its opening mark next: of `inner` the named members are cut out, of an outer one those of its member
 * `object`. DPO_END where the text is no such object: what is wrong is then for the parser of the whole to say.
 */
static enum dpo_status
pass_object(struct cut *cut, const char *object, bool inner, struct dpo_error *err)
{
	struct dpo_json_lexer *lexer = &cut->lexer, ahead;
	enum dpo_json_token token = dpo_json_next(lexer, err);
	enum dpo_status status;

	if (token != DPO_JSON_OPEN_OBJECT)
		return DPO_END;
	ahead = *lexer;
	if (dpo_json_next(&ahead, err) == DPO_JSON_CLOSE_OBJECT) {
		*lexer = ahead;
		return DPO_OK;
	}
	for (; token == DPO_JSON_OPEN_OBJECT || token == DPO_JSON_COMMA; token = dpo_json_next(lexer, err)) {
		if (dpo_json_next(lexer, err) != DPO_JSON_STRING)
			return DPO_END;
		dpo_buffer_clear(&cut->key);
		dpo_json_unescape(lexer, &cut->key);
		if (dpo_json_next(lexer, err) != DPO_JSON_COLON)
			return DPO_END;
		ahead = *lexer;
		if (!inner && is_key(cut, object) && dpo_json_next(&ahead, err) == DPO_JSON_OPEN_OBJECT)
			status = pass_object(cut, object, true, err);
		else
			status = pass_value(cut, inner ? named(cut) : NULL, err);
		if (status != DPO_OK)
			return status;
	}
	return token == DPO_JSON_CLOSE_OBJECT ? DPO_OK : DPO_END;
}

enum dpo_status
dpo_bulk_parse(cJSON **tree, const char *text, size_t n, const char *object, const char *const *names,
    struct dpo_bulk *bulks, size_t count, struct dpo_error *err)
{
	struct cut cut = { .lexer = { .text = text, .len = n }, .names = names, .bulks = bulks, .count = count };
	enum dpo_status status;

	*tree = NULL;
	for (size_t i = 0; i < count; i++)
		bulks[i] = (struct dpo_bulk){ 0 };
	status = pass_object(&cut, object, false, err);
	if (status == DPO_OK && dpo_json_next(&cut.lexer, err) == DPO_JSON_END) {
		dpo_buffer_append(&cut.rest, text + cut.copied, n - cut.copied);
		status = cut.rest.failed || cut.key.failed ? dpo_fail_memory(err) :
		    dpo_json_parse(tree, (const char *)cut.rest.data, cut.rest.len, err);
	} else if (status == DPO_OK || status == DPO_END) {
		status = dpo_json_parse(tree, text, n, err);
	}
	dpo_buffer_free(&cut.rest);
	dpo_buffer_free(&cut.key);
	return status;
}
