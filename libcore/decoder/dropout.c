#include "decoder/dropout.h"

#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * An element takes one random byte; only where that equals the threshold's higher byte, one more, in turn, of those that
 * follow a run's: of a run about 16, and more than there are in less than one of 10^15.
 */
enum { WORD = 16, RUN = 4032, MORE = 64 };

struct work {
	char purpose[160];
	uint64_t seed;
	uint16_t threshold;
	uint16_t *mask;
	size_t words;
};

/* Bit k: of byte k. */
struct compared {
	unsigned above, equal;
};

size_t
dpo_dropout_words(size_t n)
{
	return 2 * dpo_size_parts(n, 2 * WORD);	/* whole floats' worth */
}

static uint16_t
threshold_of(const struct dpo_dropout *dropout)
{
	return (uint16_t)fmin(round(dropout->p * 65536.0), 65535.0);
}

float
dpo_dropout_factor(const struct dpo_dropout *dropout)
{
	return (float)(65536.0 / (65536.0 - threshold_of(dropout)));
}

static struct compared
compare(const uint8_t bytes[WORD], uint8_t with)
{
#ifdef __SSE2__
	__m128i all = _mm_loadu_si128((const __m128i *)(const void *)bytes), one = _mm_set1_epi8((char)with);
	unsigned equal = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(all, one));

	return (struct compared){ (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(all, one), all)) & ~equal, equal };
#else
	struct compared c = { 0, 0 };

	for (size_t k = 0; k < WORD; k++) {
		c.above |= (unsigned)(bytes[k] > with) << k;
		c.equal |= (unsigned)(bytes[k] == with) << k;
	}
	return c;
#endif
}

static void
draw_run(void *context, size_t run)
{
	const struct work *w = context;
	size_t first = run * (RUN / WORD), n = dpo_size_least(w->words - first, RUN / WORD), used = 0;
	uint8_t raw[RUN + MORE], high = (uint8_t)(w->threshold >> 8), low = (uint8_t)(w->threshold & 255);
	const uint8_t *more = raw + n * WORD;

	dpo_random_bytes(raw, n * WORD + MORE, w->purpose, w->seed, run);
	for (size_t i = 0; i < n; i++) {
		struct compared c = compare(raw + i * WORD, high);

		for (unsigned left = c.equal; left; left &= left - 1)
			if (more[used++ % MORE] >= low)
				c.above |= left & -left;
		w->mask[first + i] = (uint16_t)c.above;
	}
}

void
dpo_dropout_draw(int threads, const struct dpo_dropout *dropout, size_t rows, size_t n)
{
	struct work work = { .seed = dropout->key.seed, .threshold = threshold_of(dropout), .mask = dropout->mask,
		.words = rows * dpo_dropout_words(n) };

	snprintf(work.purpose, sizeof work.purpose, "dropout %.95s %" PRIu64 " %" PRIu64, dropout->name, dropout->key.step,
	    dropout->key.row);
	dpo_parallel_for(rows * n < 65536 ? 1 : threads, dpo_size_parts(work.words, RUN / WORD), draw_run, &work);
}
