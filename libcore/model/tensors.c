#include "model/tensors.h"

#include "base/bytes.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dpo_status
dpo_tensors_add(struct dpo_header *header, struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_header_add(header, "name", DPO_STR, err)) != DPO_OK ||
	    (status = dpo_header_add(header, "shape", DPO_I64S, err)) != DPO_OK ||
	    (status = dpo_header_add(header, "offset", DPO_I64, err)) != DPO_OK)
		return status;
	return dpo_header_add(header, "data", DPO_F32S, err);
}

enum dpo_status
dpo_tensors_find(struct dpo_tensors_columns *columns, const struct dpo_header *header,
    struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_header_need(header, "name", DPO_STR, &columns->name, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "shape", DPO_I64S, &columns->shape, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "offset", DPO_I64, &columns->offset, err)) != DPO_OK)
		return status;
	return dpo_header_need(header, "data", DPO_F32S, &columns->data, err);
}

/* ------------------------------------------------------------------ writing */

/* The records of one tensor; values are all empty but for these four columns. */
static enum dpo_status
write_tensor(struct dpo_writer *writer, struct dpo_value *values,
    const struct dpo_tensors_columns *columns,
    const char *prefix, const struct dpo_tensor *tensor, const float *data, struct dpo_error *err)
{
	char name[2 * sizeof tensor->name];
	int64_t shape[DPO_RANK_MAX];
	enum dpo_status status = DPO_OK;
	int length = snprintf(name, sizeof name, "%s%s", prefix, tensor->name);

	for (size_t d = 0; d < tensor->rank; d++)
		shape[d] = (int64_t)tensor->shape[d];
	values[columns->name] = (struct dpo_value){ .data = name, .count = (size_t)length };
	values[columns->shape] = (struct dpo_value){ .data = shape, .count = tensor->rank };
	for (size_t at = 0; at < tensor->count && status == DPO_OK; at += DPO_TENSORS_PIECE) {
		size_t n = tensor->count - at < DPO_TENSORS_PIECE ? tensor->count - at :
		    DPO_TENSORS_PIECE;

		values[columns->offset].i64 = (int64_t)at;
		values[columns->data] = (struct dpo_value){ .data = data + at, .count = n };
		status = dpo_writer_put(writer, values, err);
	}
	return status == DPO_NONFINITE || status == DPO_LIMIT ? dpo_error_prefix(err, "tensor \"%s\"", name) : status;
}

enum dpo_status
dpo_tensors_write(struct dpo_writer *writer, const struct dpo_header *header, const char *prefix,
    const struct dpo_params *params, const float *block, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(header->n_columns, sizeof *values);
	struct dpo_tensors_columns columns;
	enum dpo_status status;

	if (!values)
		return dpo_fail_memory(err);
	status = dpo_tensors_find(&columns, header, err);
	for (size_t t = 0; t < params->count && status == DPO_OK; t++)
		status = write_tensor(writer, values, &columns, prefix, &params->list[t],
		    block + params->list[t].offset, err);
	free(values);
	return status;
}

/* ------------------------------------------------------------------ reading */

static bool
same_name(const struct dpo_value *value, const char *prefix, const char *name)
{
	const char *text = value->data;
	size_t n = strlen(prefix), m = strlen(name);

	return value->count == n + m && memcmp(text, prefix, n) == 0 &&
	    memcmp(text + n, name, m) == 0;
}

static bool
same_shape(const struct dpo_value *value, const struct dpo_tensor *tensor)
{
	const int64_t *shape = value->data;

	if (value->count != tensor->rank)
		return false;
	for (size_t d = 0; d < tensor->rank; d++)
		if (shape[d] != (int64_t)tensor->shape[d])
			return false;
	return true;
}

static enum dpo_status
check_piece(const struct dpo_tensor *tensor, const struct dpo_value *data, struct dpo_error *err)
{
	if (data->count > DPO_TENSORS_PIECE)
		return dpo_fail(err, DPO_LIMIT, "tensor \"%s\": %zu elements in one record; the limit is %zu", tensor->name,
		    data->count,
		    DPO_TENSORS_PIECE);
	return dpo_bytes_finite_floats(data->data, data->count) ? DPO_OK :
	    dpo_fail(err, DPO_NONFINITE, "tensor \"%s\" holds a NaN or infinity", tensor->name);
}

static enum dpo_status
check_record(const struct dpo_tensors_fill *fill, const struct dpo_tensor *tensor,
    const struct dpo_tensors_columns *columns, const struct dpo_value *values,
    struct dpo_error *err)
{
	const struct dpo_value *name = &values[columns->name], *data = &values[columns->data];
	int shown = name->count < 100 ? (int)name->count : 100;

	if (!same_name(name, fill->prefix, tensor->name))
		return dpo_fail(err, DPO_FORMAT, "tensor \"%.*s\" where \"%s%s\" is expected",
		    shown, (const char *)name->data, fill->prefix, tensor->name);
	if (!same_shape(&values[columns->shape], tensor))
		return dpo_fail(err, DPO_FORMAT,
		    "tensor \"%s\": \"shape\" is not that of the configuration", tensor->name);
	if (values[columns->offset].i64 != (int64_t)fill->elements || data->count == 0)
		return dpo_fail(err, DPO_FORMAT,
		    "tensor \"%s\": %zu elements at offset %lld where %zu is expected",
		    tensor->name, data->count, (long long)values[columns->offset].i64,
		    fill->elements);
	if (data->count > tensor->count - fill->elements)
		return dpo_fail(err, DPO_FORMAT, "tensor \"%s\": more data than its shape holds",
		    tensor->name);
	return check_piece(tensor, data, err);
}

enum dpo_status
dpo_tensors_take(struct dpo_tensors_fill *fill, const struct dpo_tensors_columns *columns,
    const struct dpo_value *values, struct dpo_error *err)
{
	const struct dpo_value *data = &values[columns->data];
	const struct dpo_tensor *tensor;
	enum dpo_status status;

	if (dpo_tensors_full(fill))
		return dpo_fail(err, DPO_FORMAT, "a tensor record after the last tensor");
	tensor = &fill->params->list[fill->tensor];
	if ((status = check_record(fill, tensor, columns, values, err)) != DPO_OK)
		return status;
	memcpy(fill->block + tensor->offset + fill->elements, data->data,
	    data->count * sizeof(float));
	fill->elements += data->count;
	if (fill->elements == tensor->count) {
		fill->tensor++;
		fill->elements = 0;
	}
	return DPO_OK;
}

bool
dpo_tensors_full(const struct dpo_tensors_fill *fill)
{
	return fill->tensor == fill->params->count;
}

/* ------------------------------------------------------------------ reading without a table */

/* The name and shape of a record as a tensor. */
static enum dpo_status
read_tensor(struct dpo_tensor *tensor, const struct dpo_value *name, const struct dpo_value *shape, struct dpo_error *err)
{
	*tensor = (struct dpo_tensor){ .rank = shape->count, .count = 1 };
	if (name->count == 0 || name->count >= sizeof tensor->name || shape->count > DPO_RANK_MAX)
		return dpo_fail(err, DPO_LIMIT, "a tensor with a name of %zu bytes and %zu dimensions", name->count,
		    shape->count);
	memcpy(tensor->name, name->data, name->count);
	for (size_t d = 0; d < shape->count; d++) {
		int64_t size = ((const int64_t *)shape->data)[d];

		tensor->shape[d] = (size_t)size;
		if (size < 1 || !dpo_size_mul(tensor->count, (size_t)size, &tensor->count))
			return dpo_fail(err, DPO_FORMAT, "tensor \"%s\": \"shape\" is not one", tensor->name);
	}
	return DPO_OK;
}

static enum dpo_status
begin_tensor(struct dpo_tensors_gather *gather, const struct dpo_tensor *tensor, struct dpo_error *err)
{
	struct dpo_params *params = &gather->params;
	void *list = params->list;

	if (gather->missing > 0)
		return dpo_fail(err, DPO_FORMAT, "tensor \"%s\" where %zu elements of the one before are missing", tensor->name,
		    gather->missing);
	if (dpo_params_find(params, tensor->name))
		return dpo_fail(err, DPO_FORMAT, "tensor \"%s\" comes twice", tensor->name);
	if (!dpo_size_grow(&list, &gather->capacity, params->count + 1, sizeof *params->list))
		return dpo_fail_memory(err);
	params->list = list;
	params->list[params->count++] = *tensor;
	gather->missing = tensor->count;
	return DPO_OK;
}

enum dpo_status
dpo_tensors_gather(struct dpo_tensors_gather *gather, const struct dpo_tensors_columns *columns,
    const struct dpo_value *values, struct dpo_error *err)
{
	const struct dpo_value *data = &values[columns->data];
	const struct dpo_tensor *last = gather->params.count ? &gather->params.list[gather->params.count - 1] : NULL;
	struct dpo_tensor tensor;
	enum dpo_status status = read_tensor(&tensor, &values[columns->name], &values[columns->shape], err);
	bool first = !last || strcmp(last->name, tensor.name) != 0;

	if (status == DPO_OK && first)
		status = begin_tensor(gather, &tensor, err);
	if (status != DPO_OK || (status = check_piece(&tensor, data, err)) != DPO_OK)
		return status;
	if (values[columns->offset].i64 != (int64_t)(tensor.count - gather->missing) || data->count == 0 ||
	    data->count > gather->missing || (!first && !same_shape(&values[columns->shape], last)))
		return dpo_fail(err, DPO_FORMAT, "tensor \"%s\": %zu elements at offset %lld, where %zu are missing", tensor.name,
		    data->count, (long long)values[columns->offset].i64, gather->missing);
	dpo_buffer_append(&gather->data, data->data, data->count * sizeof(float));
	gather->missing -= data->count;
	return gather->data.failed ? dpo_fail_memory(err) : DPO_OK;
}

enum dpo_status
dpo_tensors_gathered(struct dpo_tensors_gather *gather, float **block, struct dpo_error *err)
{
	struct dpo_params *params = &gather->params;
	size_t at = 0;

	*block = NULL;
	if (params->count == 0 || gather->missing > 0)
		return dpo_fail(err, DPO_FORMAT, "the stream ends before its tensors are complete");
	if (!dpo_params_lay_out(params) || !(*block = dpo_alloc_aligned(params->total, sizeof **block)))
		return dpo_fail_memory(err);
	for (size_t t = 0; t < params->count; t++) {
		const struct dpo_tensor *tensor = &params->list[t];

		memcpy(*block + tensor->offset, gather->data.data + at, tensor->count * sizeof **block);
		at += tensor->count * sizeof **block;
		params->parameters += tensor->count;
	}
	return DPO_OK;
}

void
dpo_tensors_gather_free(struct dpo_tensors_gather *gather)
{
	dpo_params_free(&gather->params);
	dpo_buffer_free(&gather->data);
	*gather = (struct dpo_tensors_gather){ 0 };
}
