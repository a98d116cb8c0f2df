#include "measure/kl.h"

#include "kernel/vector.h"

#include <math.h>

/* Logits worked on at once. */
enum { RUN = 1024 };

/* sum_v exp(z_v - most), and of the same terms times (z_v - y_v). */
static double
sums(const float *z, const float *y, float most, size_t vocab, double *weighted)
{
	float e[RUN];
	double sum = 0;

	*weighted = 0;
	for (size_t i = 0, n; i < vocab; i += n) {
		n = vocab - i < RUN ? vocab - i : RUN;
		dpo_vector_exp(e, z + i, most, n);
		sum += dpo_vector_sum(e, n);
		for (size_t k = 0; k < n; k++)
			*weighted += (double)e[k] * ((double)z[i + k] - (double)y[i + k]);
	}
	return sum;
}

/* sum_v p_v (z_v - y_v) - log Z_z + log Z_y, in double: small divergences are differences of large numbers. */
double
dpo_kl(const float *policy, const float *reference, size_t vocab)
{
	float most[2] = { dpo_vector_max(policy, vocab), dpo_vector_max(reference, vocab) };
	double weighted, unused, kl;
	double of_reference = sums(reference, reference, most[1], vocab, &unused);
	double of_policy = sums(policy, reference, most[0], vocab, &weighted);

	kl = weighted / of_policy - (double)most[0] - log(of_policy) + (double)most[1] + log(of_reference);
	return kl < 0 ? 0 : kl;
}
