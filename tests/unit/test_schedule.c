/* Learning rate schedules against the numbers of transformers 5 (get_scheduler). */
#include "schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void
check(const char *name, uint64_t warmup, uint64_t total, const double *want, size_t n)
{
	enum dpo_schedule schedule = dpo_schedule_find(name);

	for (size_t i = 0; i < n; i++)
		assert_true(fabs(dpo_schedule_factor(schedule, i, warmup, total) - want[i]) < 1e-15);
}

static void
factors_are_those_of_transformers(void **unused)
{
	static const double linear[] = { 0, 1.0 / 3, 2.0 / 3, 1, 6.0 / 7, 5.0 / 7, 4.0 / 7, 3.0 / 7, 2.0 / 7, 1.0 / 7, 0, 0 };
	static const double cosine[] = { 0, 1.0 / 3, 2.0 / 3, 1, 0.9504844339512095, 0.8117449009293668,
		0.6112604669781572, 0.38873953302184283, 0.18825509907063326, 0.04951556604879048, 0 };
	static const double constant[] = { 1, 1, 1, 1 };
	static const double warm[] = { 0, 1.0 / 3, 2.0 / 3, 1, 1, 1 };
	static const double short_linear[] = { 1, 0.75, 0.5, 0.25, 0 };
	static const double short_cosine[] = { 1, 0.8535533905932737, 0.5, 0.14644660940672627, 0 };

	(void)unused;
	check("linear", 3, 10, linear, 12);
	check("cosine", 3, 10, cosine, 11);
	check("constant", 0, 10, constant, 4);
	check("constant_with_warmup", 3, 10, warm, 6);
	check("linear", 0, 4, short_linear, 5);
	check("cosine", 0, 4, short_cosine, 5);
	assert_int_equal(dpo_schedule_find("linea"), DPO_SCHEDULES);
}

static void
warmup_is_a_count_or_a_share(void **unused)
{
	(void)unused;
	assert_int_equal(dpo_schedule_warmup(0, 100), 0);
	assert_int_equal(dpo_schedule_warmup(5, 100), 5);
	assert_int_equal(dpo_schedule_warmup(5.9, 100), 5);
	assert_int_equal(dpo_schedule_warmup(0.1, 101), 11);
	assert_int_equal(dpo_schedule_warmup(1, 100), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(factors_are_those_of_transformers),
		cmocka_unit_test(warmup_is_a_count_or_a_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
