/* leaves: hashes do not depend on threads, and a leaf that fails is told as what it is. */
#include "model/leaves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { TENSORS = 2, LONG = 3 << 20, SHORT = 5 };

static const size_t bytes[TENSORS] = { SHORT, 2 * LONG };	/* the second has two leaves */

/* Zeros; the last piece fails, and for the message as `again` says. */
struct zeros { enum dpo_status status, again; };

static enum dpo_status
take(const void *context, size_t tensor, size_t at, size_t n, uint8_t *room, const uint8_t **where, struct dpo_error *err)
{
	const struct zeros *zeros = context;
	enum dpo_status status = err ? zeros->again : zeros->status;

	memset(room, 0, n);
	*where = room;
	return tensor + 1 < TENSORS || at + n < bytes[tensor] || status == DPO_OK ? DPO_OK : dpo_fail(err, status, "the fact");
}

static enum dpo_status
hash_all(struct dpo_identity_tensor tensors[TENSORS], struct zeros zeros, int threads, struct dpo_error *err)
{
	memset(tensors, 0, TENSORS * sizeof *tensors);
	return dpo_leaves_hash(tensors, bytes, TENSORS, take, &zeros, threads, err);
}

static void
threads_make_no_difference(void **unused)
{
	struct dpo_identity_tensor one[TENSORS], many[TENSORS];
	struct dpo_error err;

	(void)unused;
	assert_int_equal(hash_all(one, (struct zeros){ DPO_OK, DPO_OK }, 1, &err), DPO_OK);
	for (int threads = 2; threads < 5; threads++) {
		assert_int_equal(hash_all(many, (struct zeros){ DPO_OK, DPO_OK }, threads, &err), DPO_OK);
		assert_memory_equal(one, many, sizeof one);
	}
}

static void
a_failure_is_told_as_what_it_is(void **unused)
{
	static const struct { struct zeros zeros; const char *words; } cases[] = {
		{ { DPO_IO, DPO_IO }, "the fact" },
		{ { DPO_NONFINITE, DPO_NONFINITE }, "the fact" },
		{ { DPO_IO, DPO_OK }, "could be read again" },
		{ { DPO_NOMEM, DPO_OK }, "out of memory" },
	};
	struct dpo_identity_tensor tensors[TENSORS];
	struct dpo_error err;

	(void)unused;
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		assert_int_equal(hash_all(tensors, cases[c].zeros, 2, &err), cases[c].zeros.status);
		assert_int_equal(err.status, cases[c].zeros.status);
		assert_non_null(strstr(err.text, cases[c].words));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_make_no_difference),
		cmocka_unit_test(a_failure_is_told_as_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
