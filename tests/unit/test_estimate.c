/*
 * What the timing of a run hands to the products it times, and that the working memory told is what is reserved. Products in
 * bfloat16 are replaced when this test is linked, so that it runs where the processor has no such instructions.
 */
#include "base/arena.h"
#include "kernel/mixed.h"
#include "loss/reference.h"
#include "naive.h"
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

/* ------------------------------------------------------------------ a reference that moves */

bool __real_dpo_arena_reserve(struct dpo_arena *arena, size_t floats);
bool __wrap_dpo_arena_reserve(struct dpo_arena *arena, size_t floats);
enum dpo_status __wrap_dpo_spool_get(struct dpo_spool *spool, size_t number, struct dpo_value *values, struct dpo_error *err);

static size_t reserved;
static const size_t answers[] = { 2, 9, 4 };	/* tokens, of each row */

bool
__wrap_dpo_arena_reserve(struct dpo_arena *arena, size_t floats)
{
	reserved += floats;
	return __real_dpo_arena_reserve(arena, floats);
}

enum dpo_status
__wrap_dpo_spool_get(struct dpo_spool *spool, size_t number, struct dpo_value *values, struct dpo_error *err)
{
	static const int32_t tokens[9] = { 1, 2, 3, 1, 2, 3, 1, 2, 3 };

	(void)spool;
	(void)err;
	values[0] = (struct dpo_value){ .data = "row", .count = 3 };
	values[1] = (struct dpo_value){ .data = tokens, .count = 3 };
	values[2] = values[3] = (struct dpo_value){ .data = tokens, .count = answers[number] };
	return DPO_OK;
}

static void
a_reference_reserves_what_was_told(void **state)
{
	struct dpo_value values[4];
	struct dpo_rowset rows = { .values = values, .rows = 3,
	    .columns = { .answers = 2, .prompt = 1, .answer = { 2, 3 }, .weight = 4, .margin = 4, .label_prob = 4,
	    .n_columns = 4 } };
	struct dpo_recipe recipe = { .optim.optimizer = &dpo_optimizers[0], .epochs = 1, .batch_size = 1, .grad_slots = 1,
	    .ref_sync_steps = 1 };
	struct dpo_reference *reference;
	struct dpo_estimate estimate;
	struct naive_model naive;
	struct dpo_model model = { 0 };

	(void)state;
	naive_open(&naive, naive_llama_tied, 1);
	model.config = naive.config;
	model.params = naive.params;
	model.weights = naive.weights;
	assert_int_equal(dpo_estimate_run(&estimate, &recipe, &model, &rows, NULL, 1, NULL), DPO_OK);
	assert_int_equal(dpo_reference_new(&reference, 0.5, 1, &model, &rows, NULL, false, 1, NULL), DPO_OK);
	assert_int_equal(estimate.reference, sizeof(float) * (model.params.total + reserved + 2 * (2 + 9 + 4)));
	dpo_reference_free(reference);
	naive_close(&naive);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_widths),
	    cmocka_unit_test(a_reference_reserves_what_was_told) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
