#include "tokenizer/normalform.h"

#include "base/size.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { LONGEST = 32 };	/* characters that one decomposes to; Unicode's longest has 18 */

/* A text in UTF-32. */
struct codes {
	int32_t *list;		/* owned */
	size_t count, capacity;
};

static unsigned
combining_class(int32_t code)
{
	return (unsigned)utf8proc_get_property(code)->combining_class;
}

static enum dpo_status
too_long(size_t limit, struct dpo_error *err)
{
	return dpo_fail(err, DPO_LIMIT, "text normalizes to more than %zu characters", limit);
}

static enum dpo_status
decompose(struct codes *codes, enum dpo_normal_form form, const char *text, size_t n, size_t limit, struct dpo_error *err)
{
	utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form >= DPO_NFKD ? UTF8PROC_COMPAT : 0);
	void *list = codes->list;
	utf8proc_ssize_t got;
	uint32_t code;

	for (size_t at = 0, length; at < n; at += length) {
		if ((length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) == 0)
			return dpo_fail(err, DPO_FORMAT, "text is not UTF-8");
		if (!dpo_size_grow(&list, &codes->capacity, codes->count + LONGEST, sizeof *codes->list))
			return dpo_fail_memory(err);
		codes->list = list;
		got = utf8proc_decompose_char((utf8proc_int32_t)code, codes->list + codes->count, LONGEST, options, NULL);
		if (got < 0 || got > LONGEST)
			return dpo_fail(err, DPO_FORMAT, "normalization: %s", utf8proc_errmsg(got));
		codes->count += (size_t)got;
		if (codes->count > limit)
			return too_long(limit, err);
	}
	return DPO_OK;
}

/* Order a run of marks by combining class, those of one class as they stand: by counting, with room for n more. */
static void
order_run(int32_t *run, size_t n, int32_t *room)
{
	size_t starts[257] = { 0 };

	for (size_t i = 0; i < n; i++)
		starts[combining_class(run[i]) + 1]++;
	for (size_t class = 0; class < 256; class++)
		starts[class + 1] += starts[class];
	for (size_t i = 0; i < n; i++)
		room[starts[combining_class(run[i])]++] = run[i];
	memcpy(run, room, n * sizeof *run);
}

/* The canonical ordering: each run of characters of a class that is not 0. */
static enum dpo_status
order(struct codes *codes, struct dpo_error *err)
{
	int32_t *room = NULL;

	for (size_t start = 0, end; start < codes->count; start = end) {
		bool ordered = true;

		for (end = start + 1; end < codes->count && combining_class(codes->list[end]) != 0; end++)
			ordered = ordered && combining_class(codes->list[end]) >= combining_class(codes->list[end - 1]);
		if (ordered)
			continue;
		if (!room && !(room = dpo_alloc(codes->count, sizeof *room)))
			return dpo_fail_memory(err);
		order_run(codes->list + start, end - start, room);
	}
	free(room);
	return DPO_OK;
}

static enum dpo_status
normalize(struct codes *codes, enum dpo_normal_form form, const char *text, size_t n, size_t limit, struct dpo_buffer *out,
    struct dpo_error *err)
{
	bool compose = form == DPO_NFC || form == DPO_NFKC;
	utf8proc_ssize_t count;
	enum dpo_status status;
	uint8_t utf8[4];

	codes->count = 0;
	if ((status = decompose(codes, form, text, n, limit, err)) != DPO_OK || (status = order(codes, err)) != DPO_OK)
		return status;
	count = (utf8proc_ssize_t)codes->count;
	if (compose && count > 0)
		count = utf8proc_normalize_utf32(codes->list, count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (count < 0)
		return dpo_fail(err, DPO_FORMAT, "normalization: %s", utf8proc_errmsg(count));
	for (utf8proc_ssize_t i = 0; i < count; i++)
		dpo_buffer_append(out, utf8, dpo_utf8_put(utf8, (uint32_t)codes->list[i]));
	return out->len / 4 > limit ? too_long(limit, err) : DPO_OK;
}

/* ASCII stays as it is, but for one of its characters before another: the two may be composed. */
enum dpo_status
dpo_normal_form(enum dpo_normal_form form, const char *text, size_t n, size_t limit, struct dpo_buffer *out,
    struct dpo_error *err)
{
	struct codes codes = { 0 };
	enum dpo_status status = DPO_OK;

	for (size_t at = 0, start, end; at < n && status == DPO_OK; at = end) {
		for (start = at; start < n && (uint8_t)text[start] < 0x80; start++)
			;
		start -= start < n && start > at;
		dpo_buffer_append(out, text + at, start - at);
		for (end = start < n ? start + 1 : n; end < n && (uint8_t)text[end] >= 0x80; end++)
			;
		if (start < end)
			status = normalize(&codes, form, text + start, end - start, limit, out, err);
	}
	free(codes.list);
	return status == DPO_OK && out->failed ? dpo_fail_memory(err) : status;
}
