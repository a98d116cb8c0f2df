#include "measure/bootstrap.h"

#include "base/bytes.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The mean of n draws from x. The bias of a 64-bit draw modulo n is below n / 2^64. */
static double
mean_of_draws(const double *x, size_t n, const uint8_t *draws)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[dpo_bytes_load64(draws + 8 * i) % n];
	return sum / (double)n;
}

/* The value at a share of the sorted means, between two of them where it falls there. */
static double
quantile(const double *sorted, size_t n, double share)
{
	double at = share * (double)(n - 1);
	size_t below = (size_t)at;

	return below + 1 < n ? sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]) : sorted[below];
}

bool
dpo_bootstrap(struct dpo_interval *interval, const double *x, size_t n, double confidence, size_t rounds, uint64_t seed)
{
	double *means = dpo_alloc(rounds, sizeof *means), sum = 0;
	uint8_t *draws = dpo_alloc(n, 8);
	bool fits = means && draws;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	*interval = (struct dpo_interval){ sum / (double)n, (double)NAN, (double)NAN };
	for (size_t round = 0; fits && n > 0 && round < rounds; round++) {
		dpo_random_bytes(draws, 8 * n, "bootstrap", seed, round);
		means[round] = mean_of_draws(x, n, draws);
	}
	if (fits && n > 0) {
		qsort(means, rounds, sizeof *means, by_size);
		interval->low = quantile(means, rounds, (1 - confidence) / 2);
		interval->high = quantile(means, rounds, (1 + confidence) / 2);
	}
	free(means);
	free(draws);
	return fits;
}
