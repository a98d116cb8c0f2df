#include "decoder/mask.h"

bool
dpo_mask_next(const struct dpo_sequence *sequence, size_t most, struct dpo_keys *keys)
{
	const struct dpo_segment *end = sequence->segments + sequence->n_segments;
	size_t left;

	if (!keys->segment)
		keys->segment = sequence->segments;
	else if ((keys->first += keys->n) == keys->segment->first + keys->segment->rows)
		keys->segment++;
	if (keys->segment == end)
		return false;
	if (keys->first < keys->segment->first)
		keys->first = keys->segment->first;
	left = keys->segment->first + keys->segment->rows - keys->first;
	keys->n = left < most ? left : most;
	return true;
}

size_t
dpo_mask_end(const struct dpo_sequence *sequence, const struct dpo_keys *keys)
{
	size_t end = 0;

	for (const struct dpo_segment *s = sequence->segments; s < sequence->segments + sequence->n_segments; s++)
		if (s == keys->segment || s->prefix > keys->first)
			end = s->first + s->rows;
	return end;
}

/* Of keys at positions start .. start+n-1, those at low .. high-1. */
static struct dpo_range
clip(size_t start, size_t n, size_t low, size_t high)
{
	struct dpo_range range = { low > start ? low - start : 0, high > start ? high - start : 0 };

	range.to = range.to < n ? range.to : n;
	range.from = range.from < range.to ? range.from : range.to;
	return range;
}

/* Rows of the prefix are positions; those of a segment follow its prefix. */
static struct dpo_range
seen_by(const struct dpo_segment *at, size_t row, size_t window, const struct dpo_keys *keys)
{
	bool own = keys->segment == at;
	size_t end = at->prefix + (row - at->first) + 1;
	size_t start = own ? at->prefix + (keys->first - at->first) : keys->first;

	return clip(start, keys->n, window && end > window ? end - window : 0, own ? end : at->prefix);
}

struct dpo_range
dpo_mask_rows(const struct dpo_sequence *sequence, size_t window, const struct dpo_keys *keys, size_t row, size_t n,
    size_t unit, struct dpo_range *seen)
{
	const struct dpo_segment *at = sequence->segments;
	struct dpo_range all = { keys->n, 0 };

	for (size_t i = 0; i < n; i++) {
		while (row + i >= at->first + at->rows)
			at++;
		seen[i] = seen_by(at, row + i, window, keys);
		if (seen[i].from == seen[i].to)
			continue;
		all.from = seen[i].from < all.from ? seen[i].from : all.from;
		all.to = seen[i].to > all.to ? seen[i].to : all.to;
	}
	if (all.from >= all.to)
		return (struct dpo_range){ 0 };
	all.from = all.from / unit * unit;
	all.to = (all.to + unit - 1) / unit * unit;
	return all;
}
