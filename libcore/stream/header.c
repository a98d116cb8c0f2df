#include "stream/header.h"

#include "base/json.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 1024 };

static const struct { const char *name; size_t size; bool scalar; } types[DPO_TYPES] = {
	[DPO_STR] = { "str", 1, false }, [DPO_BYTES] = { "bytes", 1, false },
	[DPO_F32] = { "f32", 4, true }, [DPO_I64] = { "i64", 8, true },
	[DPO_I32S] = { "i32[]", 4, false }, [DPO_I64S] = { "i64[]", 8, false }, [DPO_F32S] = { "f32[]", 4, false },
	[DPO_BF16S] = { "bf16[]", 2, false }, [DPO_F16S] = { "f16[]", 2, false },
};

const char *
dpo_type_name(enum dpo_type type)
{
	return types[type].name;
}

enum dpo_type
dpo_type_find(const char *name)
{
	enum dpo_type type = DPO_STR;

	while (type < DPO_TYPES && strcmp(types[type].name, name) != 0)
		type++;
	return type;
}

size_t
dpo_type_size(enum dpo_type type)
{
	return types[type].size;
}

bool
dpo_type_scalar(enum dpo_type type)
{
	return types[type].scalar;
}

/* ------------------------------------------------------------------ making */

enum dpo_status
dpo_header_init(struct dpo_header *header, const char *kind, struct dpo_error *err)
{
	*header = (struct dpo_header){
		.kind = dpo_size_copy(kind, strlen(kind)), .stages = cJSON_CreateArray(), .other = cJSON_CreateObject(),
	};
	if (header->kind && header->stages && header->other)
		return DPO_OK;
	dpo_header_free(header);
	return dpo_fail_memory(err);
}

void
dpo_header_free(struct dpo_header *header)
{
	for (size_t i = 0; i < header->n_columns; i++)
		free(header->columns[i].name);
	free(header->columns);
	free(header->kind);
	cJSON_Delete(header->stages);
	cJSON_Delete(header->other);
	*header = (struct dpo_header){ 0 };
}

enum dpo_status
dpo_header_copy(struct dpo_header *to, const struct dpo_header *from, struct dpo_error *err)
{
	enum dpo_status status = dpo_header_init(to, from->kind, err);
	cJSON *stages, *other;

	for (size_t i = 0; status == DPO_OK && i < from->n_columns; i++)
		status = dpo_header_add(to, from->columns[i].name, from->columns[i].type, err);
	if (status == DPO_OK) {
		stages = cJSON_Duplicate(from->stages, true);
		other = cJSON_Duplicate(from->other, true);
		if (!stages || !other)
			status = dpo_fail_memory(err);
		cJSON_Delete(stages ? to->stages : NULL);
		cJSON_Delete(other ? to->other : NULL);
		to->stages = stages ? stages : to->stages;
		to->other = other ? other : to->other;
	}
	if (status != DPO_OK)
		dpo_header_free(to);
	return status;
}

enum dpo_status
dpo_header_add(struct dpo_header *header, const char *name, enum dpo_type type, struct dpo_error *err)
{
	struct dpo_column *columns;
	char *copy;

	if (dpo_header_find(header, name) < header->n_columns)
		return dpo_fail(err, DPO_FORMAT, "column \"%s\" appears twice", name);
	if (!(copy = dpo_size_copy(name, strlen(name))))
		return dpo_fail_memory(err);
	columns = realloc(header->columns, (header->n_columns + 1) * sizeof *columns);
	if (!columns) {
		free(copy);
		return dpo_fail_memory(err);
	}
	columns[header->n_columns++] = (struct dpo_column){ copy, type };
	header->columns = columns;
	return DPO_OK;
}

enum dpo_status
dpo_header_stage(struct dpo_header *header, const char *stage, cJSON *settings, const char *tokenizer,
    const char *model, struct dpo_error *err)
{
	cJSON *object = cJSON_CreateObject(), *kept = settings ? settings : cJSON_CreateObject();
	bool good = object && kept && cJSON_AddStringToObject(object, "stage", stage) &&
	    cJSON_AddNumberToObject(object, "version", DPO_FORMAT_VERSION);

	if (good && cJSON_AddItemToObject(object, "settings", kept))
		kept = NULL;
	good = good && !kept && (!tokenizer || cJSON_AddStringToObject(object, "tokenizer", tokenizer)) &&
	    (!model || cJSON_AddStringToObject(object, "model", model)) &&
	    cJSON_AddItemToArray(header->stages, object);
	if (good)
		return DPO_OK;
	cJSON_Delete(object);
	cJSON_Delete(kept);
	return dpo_fail_memory(err);
}

/* ------------------------------------------------------------------ asking */

size_t
dpo_header_find(const struct dpo_header *header, const char *name)
{
	size_t i = 0;

	while (i < header->n_columns && strcmp(header->columns[i].name, name) != 0)
		i++;
	return i;
}

enum dpo_status
dpo_header_need(const struct dpo_header *header, const char *name, enum dpo_type type, size_t *index,
    struct dpo_error *err)
{
	*index = dpo_header_find(header, name);
	if (*index == header->n_columns)
		return dpo_fail(err, DPO_FORMAT, "kind \"%s\" without a column \"%s\"", header->kind, name);
	if (header->columns[*index].type != type)
		return dpo_fail(err, DPO_FORMAT, "column \"%s\" is %s, not %s", name,
		    dpo_type_name(header->columns[*index].type), dpo_type_name(type));
	return DPO_OK;
}

const char *
dpo_header_last(const struct dpo_header *header, const char *stage, const char *key)
{
	const char *found = NULL;
	const cJSON *item;

	cJSON_ArrayForEach(item, header->stages) {
		const char *name = cJSON_GetStringValue(dpo_json_get(item, "stage"));
		const char *value = cJSON_GetStringValue(dpo_json_get(item, key));

		if (value && (!stage || (name && strcmp(name, stage) == 0)))
			found = value;
	}
	return found;
}

/* ------------------------------------------------------------------ text */

/* Names and settings may come from a command line, and from there without the gate of json.h. */
static enum dpo_status
check_readable(const struct dpo_buffer *text, struct dpo_error *err)
{
	struct dpo_header header;
	enum dpo_status status = dpo_header_read(&header, (const char *)text->data, text->len, err);

	dpo_header_free(&header);
	return status;
}

enum dpo_status
dpo_header_write(const struct dpo_header *header, struct dpo_buffer *out, struct dpo_error *err)
{
	const cJSON *item;

	dpo_buffer_clear(out);
	dpo_buffer_printf(out, "{\"format\":%d,\"kind\":", DPO_FORMAT_VERSION);
	dpo_json_put_string(out, header->kind, strlen(header->kind));
	dpo_buffer_string(out, ",\"columns\":[");
	for (size_t i = 0; i < header->n_columns; i++) {
		dpo_buffer_string(out, i ? ",[" : "[");
		dpo_json_put_string(out, header->columns[i].name, strlen(header->columns[i].name));
		dpo_buffer_printf(out, ",\"%s\"]", dpo_type_name(header->columns[i].type));
	}
	dpo_buffer_string(out, "],\"stages\":");
	dpo_json_put_tree(out, header->stages);
	cJSON_ArrayForEach(item, header->other) {
		dpo_buffer_byte(out, ',');
		dpo_json_put_string(out, item->string, strlen(item->string));
		dpo_buffer_byte(out, ':');
		dpo_json_put_tree(out, item);
	}
	dpo_buffer_byte(out, '}');
	return out->failed ? dpo_fail_memory(err) : check_readable(out, err);
}

/* Numbers of a header live in doubles: an integer that a double would change is refused, since headers are passed on. */
static enum dpo_status
check_integers(const char *text, size_t len, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = text, .len = len };
	enum dpo_json_token token;

	while ((token = dpo_json_next(&lexer, err)) != DPO_JSON_END) {
		const char *at = text + lexer.start;

		if (token == DPO_JSON_ERROR)
			return DPO_FORMAT;
		if (token == DPO_JSON_NUMBER && dpo_json_token_whole(at, lexer.length) &&
		    fabs(dpo_json_token_number(at, lexer.length)) >= DPO_JSON_EXACT)	/* 2^53 + 1 reads as 2^53 */
			return dpo_fail(err, DPO_LIMIT, "header: integer %.*s is not below 2^53", (int)lexer.length, at);
	}
	return DPO_OK;
}

static enum dpo_status
read_column(struct dpo_header *header, const cJSON *pair, struct dpo_error *err)
{
	const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));
	const char *type = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));

	if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 || !name || !type || !*name)
		return dpo_fail(err, DPO_FORMAT, "header: column %zu is not [\"NAME\",\"TYPE\"]", header->n_columns + 1);
	if (dpo_type_find(type) == DPO_TYPES)
		return dpo_fail(err, DPO_UNSUPPORTED, "header: column \"%s\" has the unknown type \"%s\"", name, type);
	return dpo_header_add(header, name, dpo_type_find(type), err);
}

static enum dpo_status
read_columns(struct dpo_header *header, const cJSON *tree, struct dpo_error *err)
{
	const cJSON *columns = dpo_json_get(tree, "columns"), *pair;
	enum dpo_status status;

	if (!cJSON_IsArray(columns) || cJSON_GetArraySize(columns) == 0)
		return dpo_fail(err, DPO_FORMAT, "header: \"columns\" is not a list of one column or more");
	if (cJSON_GetArraySize(columns) > COLUMNS_MAX)
		return dpo_fail(err, DPO_LIMIT, "header: more than %d columns", COLUMNS_MAX);
	cJSON_ArrayForEach(pair, columns)
		if ((status = read_column(header, pair, err)) != DPO_OK)
			return status;
	return DPO_OK;
}

static enum dpo_status
check_stages(const cJSON *stages, struct dpo_error *err)
{
	const cJSON *stage;

	if (stages && !cJSON_IsArray(stages))
		return dpo_fail(err, DPO_FORMAT, "header: \"stages\" is not a list");
	cJSON_ArrayForEach(stage, stages)
		if (!cJSON_IsObject(stage))
			return dpo_fail(err, DPO_FORMAT, "header: a stage is not an object");
	return DPO_OK;
}

/* Move "stages" and every unknown key of tree into the header. */
static void
take_rest(struct dpo_header *header, cJSON *tree)
{
	cJSON *item, *stages;

	cJSON_DeleteItemFromObjectCaseSensitive(tree, "format");
	cJSON_DeleteItemFromObjectCaseSensitive(tree, "kind");
	cJSON_DeleteItemFromObjectCaseSensitive(tree, "columns");
	if ((stages = cJSON_DetachItemFromObjectCaseSensitive(tree, "stages"))) {
		cJSON_Delete(header->stages);
		cJSON_free(stages->string);
		stages->string = NULL;
		header->stages = stages;
	}
	while ((item = cJSON_DetachItemViaPointer(tree, tree->child)))
		cJSON_AddItemToArray(header->other, item);	/* keeps the item's key, unlike a copy by name */
}

static enum dpo_status
read_tree(struct dpo_header *header, cJSON *tree, struct dpo_error *err)
{
	enum dpo_status status;
	const char *kind;
	int64_t format;

	if (!cJSON_IsObject(tree))
		return dpo_fail(err, DPO_FORMAT, "header: not an object");
	status = dpo_json_integer(&format, tree, "format", 0, INT32_MAX, err);
	if (status == DPO_OK && format != DPO_FORMAT_VERSION)
		return dpo_fail(err, DPO_VERSION, "header: stream format %lld; this program knows format %d",
		    (long long)format, DPO_FORMAT_VERSION);
	if (status == DPO_OK)
		status = dpo_json_string(&kind, tree, "kind", err);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "header");
	if ((status = check_stages(dpo_json_get(tree, "stages"), err)) != DPO_OK ||
	    (status = dpo_header_init(header, kind, err)) != DPO_OK ||
	    (status = read_columns(header, tree, err)) != DPO_OK)
		return status;
	take_rest(header, tree);
	return DPO_OK;
}

enum dpo_status
dpo_header_read(struct dpo_header *header, const char *text, size_t len, struct dpo_error *err)
{
	enum dpo_status status;
	cJSON *tree;

	*header = (struct dpo_header){ 0 };
	if ((status = dpo_json_parse(&tree, text, len, err)) != DPO_OK)
		return dpo_error_prefix(err, "header");
	if ((status = check_integers(text, len, err)) == DPO_OK)
		status = read_tree(header, tree, err);
	cJSON_Delete(tree);
	if (status != DPO_OK)
		dpo_header_free(header);
	return status;
}
