#include "model/fields.h"

#include <string.h>

static const struct dpo_key *
find_key(const struct dpo_key *const *tables, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		for (const struct dpo_key *key = tables[i]; key && key->name; key++)
			if (strcmp(key->name, name) == 0)
				return key;
	return NULL;
}

static bool
as_demanded(const cJSON *item, enum dpo_key_kind kind)
{
	switch (kind) {
	case DPO_KEY_MUST_BE_TRUE:
		return cJSON_IsTrue(item);
	case DPO_KEY_MUST_BE_FALSE:
		return cJSON_IsFalse(item);
	case DPO_KEY_MUST_BE_ONE:
		return cJSON_IsNumber(item) && item->valuedouble == 1;
	case DPO_KEY_MUST_BE_EMPTY:
		return (cJSON_IsObject(item) || cJSON_IsArray(item)) && !item->child;
	default:
		return true;
	}
}

enum dpo_status
dpo_fields_check(const cJSON *object, const struct dpo_key *const *tables, size_t n,
    struct dpo_error *err)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, object) {
		const struct dpo_key *key = find_key(tables, n, item->string);

		if (cJSON_IsNull(item))
			continue;
		if (!key)
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "key \"%.100s\" is not known and may change the mathematics",
			    item->string);
		if (!as_demanded(item, key->kind))
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "this value of \"%s\" is not supported", key->name);
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ one field */

static enum dpo_status
read_size(size_t *size, const cJSON *object, const struct dpo_key *key, struct dpo_error *err)
{
	enum dpo_status status;
	int64_t value;

	status = dpo_json_integer(&value, object, key->name, key->kind == DPO_KEY_COUNT ? 0 : 1,
	    (int64_t)DPO_SIZE_LIMIT, err);
	if (status == DPO_OK)
		*size = (size_t)value;
	return status;
}

static enum dpo_status
read_token(int64_t *token, const cJSON *object, const char *key, struct dpo_error *err)
{
	return dpo_json_integer(token, object, key, -(int64_t)DPO_SIZE_LIMIT, (int64_t)DPO_SIZE_LIMIT, err);
}

static enum dpo_status
read_positive(double *value, const cJSON *object, const char *key, struct dpo_error *err)
{
	enum dpo_status status = dpo_json_number_or(value, object, key, *value, err);

	if (status == DPO_OK && !(*value > 0))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is %g, not above 0", key, *value);
	return status;
}

static enum dpo_status
read_activation(enum dpo_activation *activation, const cJSON *object, const char *key,
    struct dpo_error *err)
{
	static const struct { const char *name; enum dpo_activation activation; } known[] = {
		{ "gelu", DPO_ACTIVATION_GELU }, { "gelu_python", DPO_ACTIVATION_GELU },
		{ "gelu_new", DPO_ACTIVATION_GELU_TANH }, { "gelu_fast", DPO_ACTIVATION_GELU_TANH },
		{ "gelu_pytorch_tanh", DPO_ACTIVATION_GELU_TANH },
		{ "silu", DPO_ACTIVATION_SILU }, { "swish", DPO_ACTIVATION_SILU },
		{ "relu", DPO_ACTIVATION_RELU },
	};
	const char *name;
	enum dpo_status status = dpo_json_string(&name, object, key, err);

	if (status != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i].name, name) == 0) {
			*activation = known[i].activation;
			return DPO_OK;
		}
	return dpo_fail(err, DPO_UNSUPPORTED, "\"%s\" is \"%.100s\", which is not supported", key,
	    name);
}

static enum dpo_status
read_factors(float *factors, const cJSON *object, const char *key, struct dpo_error *err)
{
	const cJSON *list = dpo_json_get(object, key), *item;
	size_t n = 0;

	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a list", key);
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsNumber(item) || !((float)item->valuedouble > 0))
			return dpo_fail(err, DPO_FORMAT, "\"%s\"[%zu] is not a number above 0", key,
			    n);
		if (n == DPO_ROPE_FACTORS)
			return dpo_fail(err, DPO_LIMIT, "\"%s\" has more than %d numbers", key,
			    DPO_ROPE_FACTORS);
		factors[n++] = (float)item->valuedouble;
	}
	return DPO_OK;
}

static enum dpo_status
read_field(void *field, const cJSON *object, const struct dpo_key *key, struct dpo_error *err)
{
	switch (key->kind) {
	case DPO_KEY_SIZE:
	case DPO_KEY_COUNT:
	case DPO_KEY_SIZE_OR_NONE:
		return read_size(field, object, key, err);
	case DPO_KEY_TOKEN:
		return read_token(field, object, key->name, err);
	case DPO_KEY_POSITIVE:
	case DPO_KEY_POSITIVE_OR_NONE:
		return read_positive(field, object, key->name, err);
	case DPO_KEY_FLAG:
		return dpo_json_bool_or(field, object, key->name, false, err);
	case DPO_KEY_ACTIVATION:
		return read_activation(field, object, key->name, err);
	case DPO_KEY_FACTORS:
		return read_factors(field, object, key->name, err);
	default:
		return DPO_OK;
	}
}

/* What null means to those that it means something to. */
static void
read_none(void *field, const struct dpo_key *key)
{
	size_t *size = field;
	double *number = field;
	int64_t *token = field;

	if (key->kind == DPO_KEY_SIZE_OR_NONE)
		*size = 0;
	if (key->kind == DPO_KEY_POSITIVE_OR_NONE)
		*number = 0;
	if (key->kind == DPO_KEY_TOKEN)
		*token = DPO_NO_TOKEN;
}

enum dpo_status
dpo_fields_read(struct dpo_config *config, const cJSON *object, const struct dpo_key *const *tables,
    size_t n, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < n; i++)
		for (const struct dpo_key *key = tables[i];
		    key && key->name && status == DPO_OK; key++) {
			const cJSON *item = dpo_json_get(object, key->name);
			void *field = (char *)config + key->offset;

			if (key->required || (item && !cJSON_IsNull(item)))
				status = read_field(field, object, key, err);
			else if (item)
				read_none(field, key);
		}
	return status;
}
