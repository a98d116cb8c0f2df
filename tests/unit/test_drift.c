/*
 * KL from a policy to a reference, on a model small enough to list all answers: sum_y p(y) log(p(y) / q(y)) by the naive
 * decoder against the sums of per-token divergences, exactly in expectation, and estimated from samples.
 */
#include "base/size.h"
#include "decoder/generate.h"
#include "measure/drift.h"
#include "measure/moments.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { EOS = 1, LENGTH = 2, SAMPLES = 4000 };

static const int32_t prompt[] = { 3, 1, 4 };

struct world {
	struct naive_model policy, reference;
	struct dpo_drift drift;
	double exact, expected;		/* by enumeration: of log p - log q, and of the drift */
	double total;			/* of p(y) */
};

static struct naive_model *
both(struct world *w, size_t i)
{
	return i ? &w->reference : &w->policy;
}

/* Add one whole answer. */
static void
add_answer(struct world *w, const int32_t *answer, size_t n)
{
	struct dpo_example example = { prompt, 3, 1, { answer }, { n } };
	struct dpo_answer_sums of[2];
	double logps[2][LENGTH], sums[2] = { 0 }, kl;
	struct dpo_error err;

	for (size_t i = 0; i < 2; i++) {
		naive_logps(both(w, i), &example, 0, logps[i], NULL, NULL);
		for (size_t t = 0; t < n; t++)
			sums[i] += logps[i][t];
	}
	assert_int_equal(dpo_drift_answer(&w->drift, &example, &kl, of, &err), DPO_OK);
	assert_true(fabs(of[0].logps - sums[0]) < 1e-4 && fabs(of[1].logps - sums[1]) < 1e-4);
	w->total += exp(sums[0]);
	w->exact += exp(sums[0]) * (sums[0] - sums[1]);
	w->expected += exp(sums[0]) * kl;
}

static void
open_world(struct world *w)
{
	struct dpo_error err;

	*w = (struct world){ 0 };
	naive_open(&w->policy, naive_llama_tied, 42);
	naive_open(&w->reference, naive_llama_tied, 43);
	/* A reference that is near: the policy, a tenth of the way to another model. */
	for (size_t i = 0; i < w->policy.params.total; i++) {
		w->reference.exact[i] = w->policy.exact[i] + 0.1 * (w->reference.exact[i] - w->policy.exact[i]);
		w->reference.weights[i] = (float)w->reference.exact[i];
		w->reference.exact[i] = (double)w->reference.weights[i];
	}
	w->drift.vocab = w->policy.config.vocab_size;
	w->drift.threads = 2;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(dpo_scorer_new(i ? &w->drift.reference : &w->drift.policy, &both(w, i)->config,
		    &both(w, i)->params, both(w, i)->weights, &(struct dpo_passes){ .threads = 2 }, &err), DPO_OK);
}

static void
enumerate(struct world *w)
{
	for (int32_t a = 0; a < (int32_t)w->drift.vocab; a++) {
		if (a == EOS)
			add_answer(w, &a, 1);
		for (int32_t b = 0; a != EOS && b < (int32_t)w->drift.vocab; b++)
			add_answer(w, (const int32_t[]){ a, b }, LENGTH);
	}
}

static void
estimate(struct world *w, struct dpo_moments *drift, struct dpo_moments *ratio)
{
	static const int32_t eos = EOS;
	const struct dpo_generate_settings settings = { .sampling = { 1, 0, 1, 0, 1 }, .max_tokens = LENGTH, .seed = 7, .eos = &eos,
	    .n_eos = 1 };
	const struct naive_model *m = &w->policy;
	const struct dpo_completion *c;
	struct dpo_generator *generator;
	struct dpo_ids ids = { 0 };
	struct dpo_error err;

	for (size_t i = 0; i < 3; i++)
		assert_true(dpo_ids_add(&ids, prompt[i]));
	assert_int_equal(dpo_generator_new(&generator, &m->config, &m->params, m->weights, NULL, &settings, 32, 2, &err), DPO_OK);
	for (size_t asked = 0;;) {
		struct dpo_answer_sums of[2];
		double kl;

		for (; asked < SAMPLES && dpo_generator_room(generator) > 0; asked++)
			assert_int_equal(dpo_generator_ask(generator, 0, &ids, "row", asked, "", &err), DPO_OK);
		if (dpo_generator_next(generator, &c, &err) != DPO_OK)
			break;
		assert_int_equal(dpo_drift_answer(&w->drift, &(struct dpo_example){ prompt, 3, 1, { c->tokens.ids },
		    { c->tokens.count } }, &kl, of, &err), DPO_OK);
		dpo_moments_add(drift, kl, 0);
		dpo_moments_add(ratio, of[0].logps - of[1].logps, 0);
	}
	assert_int_equal(drift->n, SAMPLES);
	dpo_generator_free(generator);
	free(ids.ids);
}

static void
test_enumeration(void **state)
{
	struct dpo_moments drift = { 0 }, ratio = { 0 };
	struct world w;

	(void)state;
	open_world(&w);
	enumerate(&w);
	print_message("exact KL %.6f, expected sum of divergences %.6f\n", w.exact, w.expected);
	assert_true(fabs(w.total - 1) < 1e-9);
	assert_true(w.exact > 0.01);
	assert_true(fabs(w.expected - w.exact) < 1e-5 * w.exact + 1e-6);

	estimate(&w, &drift, &ratio);
	print_message("from %d samples: %.6f +- %.6f; by log-ratios %.6f +- %.6f\n", SAMPLES, dpo_moments_mean(&drift),
	    dpo_moments_error(&drift), dpo_moments_mean(&ratio), dpo_moments_error(&ratio));
	assert_true(fabs(dpo_moments_mean(&drift) - w.exact) < 4 * dpo_moments_error(&drift));
	assert_true(fabs(dpo_moments_mean(&ratio) - w.exact) < 4 * dpo_moments_error(&ratio));
	assert_true(dpo_moments_error(&drift) < dpo_moments_error(&ratio));
	dpo_scorer_free(w.drift.policy);
	dpo_scorer_free(w.drift.reference);
	dpo_drift_free(&w.drift);
	naive_close(&w.policy);
	naive_close(&w.reference);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_enumeration) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
