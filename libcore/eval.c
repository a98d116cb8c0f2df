#include "eval.h"

#include <math.h>

void
dpo_eval_add(struct dpo_eval *eval, const struct dpo_outcome *outcome, double beta)
{
	dpo_metrics_add(&eval->metrics, outcome, beta);
	for (size_t a = 0; a < outcome->answers; a++)
		eval->ratio[a] += outcome->input.ratio[a];
	eval->wins += outcome->answers == 2 && outcome->input.logp[0] > outcome->input.logp[1];
}

struct dpo_share
dpo_eval_share(size_t count, size_t n)
{
	const double z = 1.959963984540054;
	double total = (double)n, p, centre, half, scale;

	if (n == 0)
		return (struct dpo_share){ 0, 0, 1 };
	p = (double)count / total;
	scale = 1 + z * z / total;
	centre = (p + z * z / (2 * total)) / scale;
	half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale;
	return (struct dpo_share){ p, fmax(0, centre - half), fmin(1, centre + half) };
}
