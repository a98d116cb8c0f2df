#include "loss/divergence.h"

#include "loss/logistic.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static double
reverse_kl(double u, double a, double *slope)
{
	(void)a;
	*slope = 1.0;
	return u;
}

static double
forward_kl(double u, double a, double *slope)
{
	(void)a;
	*slope = exp(-u);
	return 1.0 - *slope;
}

static double
js(double u, double a, double *slope)
{
	(void)a;
	*slope = dpo_sigmoid(-u);
	return log(2.0) + dpo_log_sigmoid(u);
}

static double
alpha(double u, double a, double *slope)
{
	const double cap = 80.0;
	double t = (a - 1.0) * u, e = exp(t < cap ? t : cap);

	if (fabs(a - 1.0) < 1e-6)
		return reverse_kl(u, a, slope);
	*slope = t <= cap ? e : 0.0;
	return (e - 1.0) / (a - 1.0);
}

const struct dpo_divergence dpo_divergences[] = {
	{ "reverse_kl", "u", reverse_kl },
	{ "forward_kl", "1 - exp(-u)", forward_kl },
	{ "js_divergence", "log 2 + log sigmoid(u)", js },
	{ "alpha_divergence", "(exp((a - 1) u) - 1) / (a - 1)", alpha },
	{ 0 },
};

const char *const dpo_divergence_names[] = { "reverse_kl", "forward_kl", "js_divergence", "alpha_divergence", NULL };

const struct dpo_divergence *
dpo_divergence_find(const char *name)
{
	for (const struct dpo_divergence *divergence = dpo_divergences; divergence->name; divergence++)
		if (strcmp(divergence->name, name) == 0)
			return divergence;
	return NULL;
}
