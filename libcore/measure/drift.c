#include "measure/drift.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/size.h"
#include "decoder/pack.h"
#include "measure/kl.h"

#include <stdlib.h>

static bool
grow(struct dpo_drift *d, size_t tokens)
{
	void *logits[2] = { d->logits[0], d->logits[1] }, *kl = d->kl, *logps = d->logps;
	size_t n;
	bool fits = dpo_size_mul(tokens, d->vocab, &n);

	for (size_t i = 0; i < 2 && fits; i++) {
		fits = dpo_size_grow(&logits[i], &d->capacity[i], n, sizeof(float));
		d->logits[i] = logits[i];
	}
	fits = fits && dpo_size_grow(&kl, &d->kl_capacity, tokens, sizeof *d->kl);
	d->kl = kl;
	fits = fits && dpo_size_grow(&logps, &d->logps_capacity, tokens, sizeof *d->logps);
	d->logps = logps;
	return fits;
}

static void
one_token(void *context, size_t t)
{
	const struct dpo_drift *d = context;

	d->kl[t] = dpo_kl(d->logits[0] + t * d->vocab, d->logits[1] + t * d->vocab, d->vocab);
}

enum dpo_status
dpo_drift_answer(struct dpo_drift *drift, const struct dpo_example *example, double *sum,
    struct dpo_answer_sums of[2], struct dpo_error *err)
{
	struct dpo_drift *d = drift;
	struct dpo_scorer *scorers[2] = { d->policy, d->reference };
	enum dpo_status status;

	if (!grow(d, example->n_answer[0]))
		return dpo_fail_memory(err);
	for (size_t i = 0; i < 2; i++)
		if ((status = dpo_score(scorers[i], example, &d->logps, &of[i], err)) != DPO_OK ||
		    (status = dpo_score_logits(scorers[i], 0, d->logits[i], err)) != DPO_OK)
			return status;
	dpo_parallel_for(of[0].scored * d->vocab < 16384 ? 1 : d->threads, of[0].scored, one_token, d);
	*sum = 0;
	for (size_t t = 0; t < of[0].scored; t++)
		*sum += d->kl[t];
	return DPO_OK;
}

void
dpo_drift_free(struct dpo_drift *drift)
{
	free(drift->logits[0]);
	free(drift->logits[1]);
	free(drift->kl);
	free(drift->logps);
	drift->logits[0] = drift->logits[1] = drift->logps = NULL;
	drift->kl = NULL;
}
