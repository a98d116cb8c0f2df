/*
 * What the timing of a run hands to the products it times. Those in bfloat16 are replaced when this test is linked, so that it
 * runs where the processor has no such instructions.
 */
#include "kernel/mixed.h"
#include "train/estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static size_t products;

void __wrap_dpo_mixed_product(int threads, const struct dpo_product *p, const struct dpo_bf16_packed *b);

/* Whether [a, a + n) and [b, b + m) are apart. */
static bool
apart(const float *a, size_t n, const float *b, size_t m)
{
	return a + n <= b || b + m <= a;
}

void
__wrap_dpo_mixed_product(int threads, const struct dpo_product *p, const struct dpo_bf16_packed *b)
{
	size_t n = p->rows * p->columns;

	(void)threads;
	assert_null(b);
	assert_int_equal((uintptr_t)p->scratch % 64, 0);
	assert_true(apart(p->scratch, DPO_MIXED_SCRATCH, p->c, n));
	assert_true(apart(p->a.data, p->rows * p->inner, p->c, n));
	assert_true(apart(p->b.data, p->inner * p->columns, p->c, n));
	assert_true(apart(p->b.data, p->inner * p->columns, p->scratch, DPO_MIXED_SCRATCH));
	assert_true(apart(p->a.data, p->rows * p->inner, p->scratch, DPO_MIXED_SCRATCH));
	/* Within the block, as the sanitizers know it. */
	memset(p->scratch, 0, DPO_MIXED_SCRATCH * sizeof(float));
	memset(p->c, 0, n * sizeof(float));
	products++;
}

static void
test_widths(void **state)
{
	static const size_t widths[] = { 1, 3, 30, 64, 250, 768, 5000 };

	(void)state;
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		struct dpo_model model = { .config.hidden_size = widths[i] };
		struct dpo_estimate estimate = { .operations = 1e9, .traffic = 1e6 };

		products = 0;
		dpo_estimate_time(&estimate, &model, true, 2);
		assert_true(products > 0);
		assert_true(estimate.seconds >= 0);
		dpo_estimate_time(&estimate, &model, false, 2);
		assert_true(estimate.seconds > 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_widths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
