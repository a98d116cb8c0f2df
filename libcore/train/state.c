#include "train/state.h"

#include "base/json.h"

#include <stdlib.h>

void
dpo_state_put(struct dpo_buffer *out, const char *key, double value)
{
	dpo_buffer_printf(out, "\"%s\":\"%a\"", key, value);
}

void
dpo_state_put_list(struct dpo_buffer *out, const char *key, const double *values, size_t n)
{
	dpo_buffer_printf(out, "\"%s\":[", key);
	for (size_t i = 0; i < n; i++)
		dpo_buffer_printf(out, "%s\"%a\"", i ? "," : "", values[i]);
	dpo_buffer_byte(out, ']');
}

static enum dpo_status
parse(double *value, const char *text, const char *key, struct dpo_error *err)
{
	char *end = NULL;

	if (text && *text)
		*value = strtod(text, &end);
	return end && !*end ? DPO_OK : dpo_fail(err, DPO_FORMAT, "\"%s\" is not a number", key);
}

enum dpo_status
dpo_state_number(double *value, const cJSON *object, const char *key, struct dpo_error *err)
{
	const char *text;
	enum dpo_status status = dpo_json_string(&text, object, key, err);

	return status == DPO_OK ? parse(value, text, key, err) : status;
}

enum dpo_status
dpo_state_list(double *values, size_t n, const cJSON *object, const char *key, struct dpo_error *err)
{
	const cJSON *list = dpo_json_get(object, key), *item;
	enum dpo_status status = DPO_OK;
	size_t i = 0;

	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != (int)n)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a list of %zu numbers", key, n);
	cJSON_ArrayForEach(item, list)
		if (status == DPO_OK)
			status = parse(&values[i++], cJSON_GetStringValue(item), key, err);
	return status;
}

enum dpo_status
dpo_state_counter(uint64_t *value, const cJSON *object, const char *key, uint64_t limit, struct dpo_error *err)
{
	int64_t number = 0;
	enum dpo_status status = dpo_json_integer(&number, object, key, 0,
	    limit < (uint64_t)DPO_JSON_EXACT ? (int64_t)limit : (int64_t)DPO_JSON_EXACT, err);

	*value = (uint64_t)number;
	return status;
}
