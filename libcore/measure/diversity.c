#include "measure/diversity.h"

#include "base/size.h"
#include "base/table.h"

#include <math.h>
#include <stdlib.h>

static const double NO_MATCH = 0.1;	/* what a precision without a match counts */

/* How often an n-gram is in the generation that has it most, and in the one that comes next. */
struct gram {
	size_t most, second, owner;	/* owner: the one that has it most */
};

/* Number i of the set. */
struct text {
	const int32_t *ids;
	size_t n;
};

static struct text
text_at(const struct dpo_diversity *set, size_t i)
{
	size_t start = i ? set->ends[i - 1] : 0;

	return (struct text){ set->tokens.ids + start, set->ends[i] - start };
}

static size_t
grams_of(struct text text, size_t order)
{
	return text.n >= order ? text.n - order + 1 : 0;
}

enum dpo_status
dpo_diversity_add(struct dpo_diversity *set, const int32_t *ids, size_t n, struct dpo_error *err)
{
	void *ends = set->ends;
	bool fits = dpo_size_grow(&ends, &set->capacity, set->count + 1, sizeof *set->ends);

	set->ends = ends;
	for (size_t i = 0; i < n && fits; i++)
		fits = dpo_ids_add(&set->tokens, ids[i]);
	if (!fits)
		return dpo_fail_memory(err);
	set->ends[set->count++] = set->tokens.count;
	return DPO_OK;
}

void
dpo_diversity_free(struct dpo_diversity *set)
{
	free(set->tokens.ids);
	free(set->ends);
	*set = (struct dpo_diversity){ 0 };
}

/* ------------------------------------------------------------------ n-grams of one generation */

/* The distinct n-grams of a text, in the order of their first places, and how often each is there. {0} is empty. */
struct counts {
	struct dpo_table table;
	size_t *first, *times;		/* owned; [table.count] */
	size_t first_capacity, times_capacity;
};

static bool
count_gram(struct counts *c, struct text text, size_t at, size_t order)
{
	void *first = c->first, *times = c->times;
	const int32_t *gram = text.ids + at;
	int64_t index = dpo_table_get(&c->table, gram, order * sizeof *gram, -1);
	size_t n = c->table.count;
	bool fits;

	if (index >= 0) {
		c->times[index]++;
		return true;
	}
	fits = dpo_size_grow(&first, &c->first_capacity, n + 1, sizeof *c->first) &
	    dpo_size_grow(&times, &c->times_capacity, n + 1, sizeof *c->times);
	c->first = first;
	c->times = times;
	if (!fits || dpo_table_add(&c->table, gram, order * sizeof *gram, (int64_t)n) < 0)
		return false;
	c->first[n] = at;
	c->times[n] = 1;
	return true;
}

static bool
count_grams(struct counts *c, struct text text, size_t order)
{
	dpo_table_free(&c->table);
	for (size_t at = 0; at < grams_of(text, order); at++)
		if (!count_gram(c, text, at, order))
			return false;
	return true;
}

static void
free_counts(struct counts *c)
{
	dpo_table_free(&c->table);
	free(c->first);
	free(c->times);
}

/* ------------------------------------------------------------------ n-grams of the set */

struct grams {
	struct dpo_table table;
	struct gram *list;		/* owned; [table.count] */
	size_t capacity;
	size_t all;			/* n-grams, repeated ones counted */
};

static bool
note_gram(struct grams *g, const int32_t *ids, size_t order, size_t times, size_t owner)
{
	int64_t index = dpo_table_get(&g->table, ids, order * sizeof *ids, -1);
	void *list = g->list;
	struct gram *gram;
	bool fits;

	if (index < 0) {
		index = (int64_t)g->table.count;
		fits = dpo_size_grow(&list, &g->capacity, g->table.count + 1, sizeof *g->list);
		g->list = list;
		if (!fits || dpo_table_add(&g->table, ids, order * sizeof *ids, index) < 0)
			return false;
		g->list[index] = (struct gram){ times, 0, owner };
		return true;
	}
	gram = &g->list[index];
	if (times > gram->most)
		*gram = (struct gram){ times, gram->most, owner };
	else if (times > gram->second)
		gram->second = times;
	return true;
}

static bool
gather(const struct dpo_diversity *set, size_t order, struct grams *g, struct counts *c, double *repetition)
{
	size_t texts = 0;
	double sum = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct text text = text_at(set, i);
		size_t n = grams_of(text, order);

		if (!count_grams(c, text, order))
			return false;
		for (size_t k = 0; k < c->table.count; k++)
			if (!note_gram(g, text.ids + c->first[k], order, c->times[k], i))
				return false;
		g->all += n;
		texts += n > 0;
		sum += n > 0 ? 1 - (double)c->table.count / (double)n : 0;
	}
	*repetition = texts ? sum / (double)texts : (double)NAN;
	return true;
}

/* Of each n-gram of text i, as often as the others have it at most: the clipped matches of BLEU. */
static size_t
matches(const struct grams *g, const struct counts *c, struct text text, size_t order, size_t i)
{
	size_t sum = 0;

	for (size_t k = 0; k < c->table.count; k++) {
		const struct gram *gram = &g->list[dpo_table_get(&g->table, text.ids + c->first[k], order * sizeof *text.ids, 0)];
		size_t others = gram->owner == i ? gram->second : gram->most;

		sum += c->times[k] < others ? c->times[k] : others;
	}
	return sum;
}

/* ------------------------------------------------------------------ BLEU */

/* log of the brevity penalty: against the reference of the closest length, the shorter of two. */
static double
log_brevity(const struct dpo_diversity *set, size_t i)
{
	size_t n = text_at(set, i).n, closest = 0, distance = SIZE_MAX;

	for (size_t k = 0; k < set->count; k++) {
		size_t other = text_at(set, k).n, away = other > n ? other - n : n - other;

		if (k != i && (away < distance || (away == distance && other < closest))) {
			closest = other;
			distance = away;
		}
	}
	return n > closest ? 0 : 1 - (double)closest / (double)n;
}

/* Add the precisions of one order: logs[i] -INFINITY is BLEU 0. */
static bool
add_precisions(const struct dpo_diversity *set, const struct grams *g, struct counts *c, size_t order, double *logs)
{
	for (size_t i = 0; i < set->count; i++) {
		struct text text = text_at(set, i);
		size_t all = grams_of(text, order), found;

		if (!count_grams(c, text, order))
			return false;
		found = matches(g, c, text, order, i);
		if (order == 1 && found == 0)
			logs[i] = -INFINITY;
		logs[i] += log((found ? (double)found : NO_MATCH) / (double)(all ? all : 1)) / DPO_BLEU;
	}
	return true;
}

static bool
measure(const struct dpo_diversity *set, struct dpo_diversity_values *values, double *logs, struct counts *c)
{
	bool fits = true;
	double sum = 0;

	for (size_t order = 1; order <= DPO_BLEU && fits; order++) {
		struct grams g = { 0 };

		fits = gather(set, order, &g, c, &values->repetition) && add_precisions(set, &g, c, order, logs);
		if (order <= DPO_DISTINCT)
			values->distinct[order - 1] = g.all ? (double)g.table.count / (double)g.all : (double)NAN;
		dpo_table_free(&g.table);
		free(g.list);
	}
	for (size_t i = 0; i < set->count; i++)
		sum += isfinite(logs[i]) ? exp(logs[i] + log_brevity(set, i)) : 0;
	values->self_bleu = set->count > 1 ? sum / (double)set->count : (double)NAN;
	return fits;
}

enum dpo_status
dpo_diversity_measure(const struct dpo_diversity *set, struct dpo_diversity_values *values, struct dpo_error *err)
{
	double *logs = dpo_alloc(set->count, sizeof *logs);
	struct counts counts = { 0 };
	bool fits = logs && measure(set, values, logs, &counts);

	free_counts(&counts);
	free(logs);
	return fits ? DPO_OK : dpo_fail_memory(err);
}
