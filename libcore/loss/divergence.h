/*
 * divergence - the f-divergences that may replace the reverse KL between policy and reference. Layer 1; uses nothing but
 * logistic.
 *
 * With u = log pi(y|x) - log ref(y|x), the reward difference of DPO becomes beta (s(u_chosen) - s(u_rejected)), where
 * s = f' at the ratio exp(u) (Wang et al. 2023, "Beyond Reverse KL", arXiv:2309.16240), as TRL 1.16.0 writes it:
 *
 *	reverse_kl		u
 *	forward_kl		1 - exp(-u)
 *	js_divergence		log 2 + log sigmoid(u)
 *	alpha_divergence	(exp(min((a - 1) u, 80)) - 1) / (a - 1); u where |a - 1| < 1e-6
 *
 * For u below about -88 forward_kl leaves the range of float; the caller checks that the score is finite.
 */
#ifndef DPO_DIVERGENCE_H
#define DPO_DIVERGENCE_H

struct dpo_divergence {
	const char *name;	/* TRL's name */
	const char *formula;	/* one line, for people */
	/* The score of log-ratio u, and *slope, its derivative. Only alpha_divergence uses the coefficient a. */
	double (*score)(double u, double a, double *slope);
};

extern const struct dpo_divergence dpo_divergences[];	/* the first is reverse_kl; name NULL ends the table */
extern const char *const dpo_divergence_names[];	/* in the same order, NULL at the end */

/* The row of that name, or NULL. */
const struct dpo_divergence *dpo_divergence_find(const char *name);

#endif
