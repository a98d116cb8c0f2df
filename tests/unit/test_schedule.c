/*
 * Learning rate schedules against the numbers of transformers' get_scheduler: testdata/golden/transformers/schedules.tsv,
 * made by tests/peers/schedules.py.
 */
#include "train/schedule.h"

#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dpo_schedule_settings
settings_for(const char *name)
{
	struct dpo_schedule_settings settings = { .schedule = dpo_schedule_find(name), .num_cycles = NAN, .min_lr = NAN,
		.min_lr_rate = NAN, .timescale = NAN, .lr_end = 1e-7, .power = 1, .decay_type = DPO_DECAY_COSINE };

	assert_non_null(settings.schedule);
	return settings;
}

static enum dpo_decay
decay_of(const char *name)
{
	int i = 0;

	while (dpo_decay_names[i] && strcmp(dpo_decay_names[i], name) != 0)
		i++;
	assert_non_null(dpo_decay_names[i]);
	return (enum dpo_decay)i;
}

/* "key=value key=value" into settings. */
static void
take(struct dpo_schedule_settings *settings, char *text)
{
	const struct { const char *key; double *field; } numbers[] = {
		{ "num_cycles", &settings->num_cycles }, { "min_lr", &settings->min_lr },
		{ "min_lr_rate", &settings->min_lr_rate }, { "lr_end", &settings->lr_end }, { "power", &settings->power },
		{ "timescale", &settings->timescale }, { "num_decay_steps", &settings->num_decay_steps },
		{ "min_lr_ratio", &settings->min_lr_ratio },
	};
	char *save;

	for (char *one = strtok_r(text, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
		char *value = strchr(one, '=');
		size_t i = 0;

		*value++ = '\0';
		while (i < sizeof numbers / sizeof *numbers && strcmp(numbers[i].key, one) != 0)
			i++;
		if (i < sizeof numbers / sizeof *numbers)
			*numbers[i].field = strtod(value, NULL);
		else if (strcmp(one, "decay_type") == 0)
			settings->decay_type = decay_of(value);
		else
			fail_msg("unknown key %s", one);
	}
}

/* One line of the file; how many factors it compared. */
static size_t
check_line(char *line)
{
	char *field[5], *rest = line;
	struct dpo_schedule_settings settings;
	struct dpo_schedule_plan plan;
	uint64_t step = 0;

	for (int i = 0; i < 5; i++) {
		field[i] = rest;
		rest = strchr(rest, '\t');
		assert_non_null(rest);
		*rest++ = '\0';
	}
	settings = settings_for(field[0]);
	settings.warmup_steps = strtod(field[2], NULL);
	take(&settings, field[4]);
	plan = dpo_schedule_plan(&settings, strtod(field[1], NULL), strtoull(field[3], NULL, 10));
	for (char *end; *rest; rest = *end ? end + 1 : end, step++) {
		double want = strtod(rest, &end), got = dpo_schedule_factor(&plan, step);

		/* transformers multiplies out learning rates where we keep factors: a few roundings of 1. */
		if (!(fabs(got - want) < 1e-15))
			fail_msg("%s, step %d: %.17g, not %.17g", field[0], (int)step, got, want);
	}
	assert_true(step == plan.total + 2);
	return (size_t)step;
}

static void
factors_are_those_of_transformers(void **unused)
{
	size_t n, compared = 0, lines = 0;
	char *text = fixture_read("testdata/golden/transformers", "schedules.tsv", &n), *save;

	(void)unused;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
		compared += check_line(line);
	assert_true(lines == 23 && compared > 200);
	free(text);
	assert_null(dpo_schedule_find("linea"));
}

static void
names_are_the_table(void **unused)
{
	size_t n = 0;

	(void)unused;
	for (; dpo_schedules[n].name; n++)
		assert_string_equal(dpo_schedules[n].name, dpo_schedule_names[n]);
	assert_null(dpo_schedule_names[n]);
}

static uint64_t
warmup(double warmup_steps, uint64_t total)
{
	struct dpo_schedule_settings settings = settings_for("linear");

	settings.warmup_steps = warmup_steps;
	return dpo_schedule_plan(&settings, 1, total).warmup;
}

static void
warmup_is_a_count_or_a_share(void **unused)
{
	(void)unused;
	assert_int_equal(warmup(0, 100), 0);
	assert_int_equal(warmup(5, 100), 5);
	assert_int_equal(warmup(5.9, 100), 5);
	assert_int_equal(warmup(0.1, 101), 11);
	assert_int_equal(warmup(1, 100), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(factors_are_those_of_transformers),
		cmocka_unit_test(names_are_the_table),
		cmocka_unit_test(warmup_is_a_count_or_a_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
