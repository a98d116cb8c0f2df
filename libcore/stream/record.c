#include "stream/record.h"

#include "base/bytes.h"
#include "base/size.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>

enum { COUNT_BYTES = 4, ALIGNMENT = 8 };

/* ------------------------------------------------------------------ checks */

static enum dpo_status
check_string(const struct dpo_column *column, const void *text, size_t n, struct dpo_error *err)
{
	size_t good = dpo_utf8_check(text, n);

	if (good < n)
		return dpo_fail(err, DPO_FORMAT, "column \"%s\": byte %zu of %zu is not UTF-8", column->name, good, n);
	if (n && memchr(text, 0, n))
		return dpo_fail(err, DPO_FORMAT, "column \"%s\": U+0000 in a str", column->name);
	return DPO_OK;
}

static enum dpo_status
check_floats(const struct dpo_column *column, const float *floats, size_t n, struct dpo_error *err)
{
	if (dpo_bytes_finite_floats(floats, n))
		return DPO_OK;
	for (size_t i = 0; i < n; i++)
		if (!isfinite(floats[i]))
			return dpo_fail(err, DPO_NONFINITE, "column \"%s\": element %zu of %zu is %s", column->name, i + 1, n,
			    isnan(floats[i]) ? "NaN" : "infinite");
	return DPO_OK;
}

/* Half floats, of which nothing but their bits is looked at: all ones in the exponent. */
static enum dpo_status
check_halves(const struct dpo_column *column, const uint16_t *halves, size_t n, struct dpo_error *err)
{
	uint16_t exponent = column->type == DPO_BF16S ? 0x7f80 : 0x7c00;

	if (dpo_bytes_finite(halves, n, sizeof *halves, exponent))
		return DPO_OK;
	for (size_t i = 0; i < n; i++)
		if ((halves[i] & exponent) == exponent)
			return dpo_fail(err, DPO_NONFINITE, "column \"%s\": element %zu of %zu is %s", column->name, i + 1, n,
			    (halves[i] & 0x7fff) == exponent ? "infinite" : "NaN");
	return DPO_OK;
}

enum dpo_status
dpo_record_check(const struct dpo_header *header, const struct dpo_value *values, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < header->n_columns && status == DPO_OK; i++) {
		const struct dpo_column *column = &header->columns[i];

		if (column->type == DPO_STR)
			status = check_string(column, values[i].data, values[i].count, err);
		else if (column->type == DPO_F32)
			status = check_floats(column, &values[i].f32, 1, err);
		else if (column->type == DPO_F32S)
			status = check_floats(column, values[i].data, values[i].count, err);
		else if (column->type == DPO_BF16S || column->type == DPO_F16S)
			status = check_halves(column, values[i].data, values[i].count, err);
	}
	return status;
}

/* ------------------------------------------------------------------ writing */

static void
put_scalar(enum dpo_type type, const struct dpo_value *value, struct dpo_buffer *out)
{
	uint8_t raw[8];

	if (type == DPO_I64)
		dpo_bytes_store64(raw, (uint64_t)value->i64);
	else
		dpo_bytes_store32(raw, dpo_bytes_from_float(value->f32));
	dpo_buffer_append(out, raw, dpo_type_size(type));
}

/* false if the bytes added to `used` would pass the limit. */
static bool
put_run(enum dpo_type type, const struct dpo_value *value, size_t used, struct dpo_buffer *out)
{
	size_t each = dpo_type_size(type), bytes;
	uint8_t *room;

	if (!dpo_size_mul(value->count, each, &bytes) || bytes > DPO_RECORD_MAX ||
	    used + bytes + COUNT_BYTES > DPO_RECORD_MAX)
		return false;
	if ((room = dpo_buffer_room(out, bytes + COUNT_BYTES))) {
		dpo_bytes_store32(room, (uint32_t)value->count);
		dpo_bytes_swap_copy(room + COUNT_BYTES, value->data, value->count, each);
	}
	return true;
}

enum dpo_status
dpo_record_put(const struct dpo_header *header, const struct dpo_value *values, struct dpo_buffer *out,
    struct dpo_error *err)
{
	size_t before = out->len;

	for (size_t i = 0; i < header->n_columns; i++) {
		const struct dpo_column *column = &header->columns[i];

		if (dpo_type_scalar(column->type)) {
			put_scalar(column->type, &values[i], out);
		} else if (!put_run(column->type, &values[i], out->len - before, out)) {
			out->len = before;
			return dpo_fail(err, DPO_LIMIT, "column \"%s\": %zu elements bring the record above %zu bytes",
			    column->name, values[i].count, DPO_RECORD_MAX);
		}
	}
	return out->failed ? dpo_fail_memory(err) : DPO_OK;
}

/* ------------------------------------------------------------------ reading */

static enum dpo_status
runs_out(const struct dpo_column *column, size_t need, size_t left, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "column \"%s\" needs %zu bytes; its block has %zu left", column->name, need, left);
}

/* First walk: where the record ends, and the room its runs need in scratch. */
static enum dpo_status
measure(const struct dpo_header *header, const uint8_t *bytes, size_t len, size_t *at, size_t *room,
    struct dpo_error *err)
{
	for (size_t i = 0; i < header->n_columns; i++) {
		const struct dpo_column *column = &header->columns[i];
		bool scalar = dpo_type_scalar(column->type);
		size_t each = dpo_type_size(column->type), need = scalar ? each : COUNT_BYTES, count;

		if (len - *at < need)
			return runs_out(column, need, len - *at, err);
		count = scalar ? 0 : dpo_bytes_load32(bytes + *at);
		*at += need;
		if (count > (len - *at) / each)
			return runs_out(column, count * each, len - *at, err);
		*at += count * each;
		*room += scalar ? 0 : (count * each + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	return DPO_OK;
}

/* Second walk, over lengths that were checked. */
static void
take(const struct dpo_header *header, const uint8_t *from, uint8_t *to, struct dpo_value *values)
{
	for (size_t i = 0; i < header->n_columns; i++) {
		enum dpo_type type = header->columns[i].type;
		size_t each = dpo_type_size(type), count;

		values[i] = (struct dpo_value){ 0 };
		if (type == DPO_F32) {
			values[i].f32 = dpo_bytes_to_float(dpo_bytes_load32(from));
			from += each;
		} else if (type == DPO_I64) {
			values[i].i64 = (int64_t)dpo_bytes_load64(from);
			from += each;
		} else {
			count = dpo_bytes_load32(from);
			dpo_bytes_swap_copy(to, from + COUNT_BYTES, count, each);
			to[count * each] = 0;
			values[i].data = to;
			values[i].count = count;
			from += COUNT_BYTES + count * each;
			to += (count * each + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
		}
	}
}

enum dpo_status
dpo_record_get(const struct dpo_header *header, const uint8_t *bytes, size_t len, size_t *at,
    struct dpo_buffer *scratch, struct dpo_value *values, struct dpo_error *err)
{
	size_t end = *at, room = 0;
	enum dpo_status status = measure(header, bytes, len, &end, &room, err);
	uint8_t *to;

	if (status != DPO_OK)
		return status;
	if (end - *at > DPO_RECORD_MAX)
		return dpo_fail(err, DPO_LIMIT, "record of %zu bytes; the limit is %zu", end - *at, DPO_RECORD_MAX);
	dpo_buffer_clear(scratch);
	if (!(to = dpo_buffer_room(scratch, room ? room : ALIGNMENT)))
		return dpo_fail_memory(err);
	take(header, bytes + *at, to, values);
	for (size_t i = 0; i < header->n_columns && status == DPO_OK; i++)
		if (header->columns[i].type == DPO_STR)
			status = check_string(&header->columns[i], values[i].data, values[i].count, err);
	*at = end;
	return status;
}
