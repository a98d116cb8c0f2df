#include "watch.h"

#include "json.h"
#include "state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void
dpo_watch_init(struct dpo_watch *watch, uint64_t total, uint64_t per_epoch, uint64_t batch_size)
{
	uint64_t quarter = (total < per_epoch ? total : per_epoch) / 4;
	uint64_t least = DPO_WATCH_PAIRS / batch_size + (DPO_WATCH_PAIRS % batch_size != 0);

	*watch = (struct dpo_watch){ .block = quarter > least ? quarter : least };
}

void
dpo_watch_add(struct dpo_watch_sums *sums, const struct dpo_outcome *outcome)
{
	double c = outcome->input.ratio[0], r = outcome->input.ratio[1], margin = c - r;
	double length = (double)outcome->sums[0].scored - (double)outcome->sums[1].scored;

	if (!outcome->reference || outcome->answers < 2)
		return;
	sums->sum[DPO_WATCH_COUNT] += 1;
	sums->sum[DPO_WATCH_FELL] += c < 0;
	sums->sum[DPO_WATCH_RATIO2] += c * c + r * r;
	sums->sum[DPO_WATCH_MARGIN] += margin;
	sums->sum[DPO_WATCH_MARGIN2] += margin * margin;
	sums->sum[DPO_WATCH_LENGTH] += length;
	sums->sum[DPO_WATCH_LENGTH2] += length * length;
	sums->sum[DPO_WATCH_CROSS] += margin * length;
}

static void
merge(struct dpo_watch_sums *to, const struct dpo_watch_sums *from)
{
	for (size_t i = 0; i < DPO_WATCH_SUMS; i++)
		to->sum[i] += from->sum[i];
}

static double
mean(const struct dpo_watch_sums *sums, enum dpo_watch_sum which)
{
	return sums->sum[DPO_WATCH_COUNT] > 0 ? sums->sum[which] / sums->sum[DPO_WATCH_COUNT] : 0.0;
}

void
dpo_watch_step(struct dpo_watch *watch, const struct dpo_watch_sums *sums)
{
	merge(&watch->now, sums);
	if (++watch->steps < watch->block)
		return;
	if (watch->peak.sum[DPO_WATCH_COUNT] == 0 || mean(&watch->now, DPO_WATCH_MARGIN) > mean(&watch->peak, DPO_WATCH_MARGIN))
		watch->peak = watch->now;
	watch->last = watch->now;
	watch->now = (struct dpo_watch_sums){ 0 };
	watch->steps = 0;
}

/* ------------------------------------------------------------------ judging */

static double
variance(const struct dpo_watch_sums *sums, enum dpo_watch_sum first, enum dpo_watch_sum second)
{
	double average = mean(sums, first);

	return fmax(0.0, mean(sums, second) - average * average);
}

static double
correlation(const struct dpo_watch_sums *s)
{
	double spread = sqrt(variance(s, DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2) * variance(s, DPO_WATCH_LENGTH, DPO_WATCH_LENGTH2));
	double both = mean(s, DPO_WATCH_CROSS) - mean(s, DPO_WATCH_MARGIN) * mean(s, DPO_WATCH_LENGTH);

	return spread > 0 ? both / spread : 0.0;
}

static bool
collapsed(const struct dpo_watch_sums *s, const struct dpo_watch_sums *peak)
{
	double high = mean(peak, DPO_WATCH_MARGIN), low = mean(s, DPO_WATCH_MARGIN);
	double error = sqrt(variance(s, DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2) / s->sum[DPO_WATCH_COUNT] +
	    variance(peak, DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2) / fmax(1.0, peak->sum[DPO_WATCH_COUNT]));

	return high > 0 && low < 0.5 * high && high - low > 3.0 * error;
}

static void *
say(struct dpo_finding *finding, size_t pairs, const char *name, const char *figure, double value)
{
	*finding = (struct dpo_finding){ .name = name, .figure = figure, .value = value, .pairs = pairs };
	return finding->text;
}

size_t
dpo_watch_findings(const struct dpo_watch *watch, double beta, bool difference,
    struct dpo_finding found[DPO_WATCH_FINDINGS])
{
	const size_t size = sizeof found->text;
	struct dpo_watch_sums sums = watch->last;
	double fell, rho, moved, spread;
	size_t n = 0, pairs;

	merge(&sums, &watch->now);
	pairs = (size_t)sums.sum[DPO_WATCH_COUNT];
	if (pairs < DPO_WATCH_PAIRS)
		return 0;
	fell = mean(&sums, DPO_WATCH_FELL);
	rho = correlation(&sums);
	moved = sqrt(mean(&sums, DPO_WATCH_RATIO2) / 2);
	spread = sqrt(mean(&sums, DPO_WATCH_MARGIN2));
	if (moved < 0.1) {
		snprintf(say(&found[n++], pairs, "nothing_moved", "log_ratio_rms", moved), size, "the policy hardly moved: "
		    "log-ratios to the reference are %.2g nats in root mean square over the last %zu pairs; raise the learning rate, "
		    "or train longer", moved, pairs);
		return n;
	}
	if (fell > 0.5)
		snprintf(say(&found[n++], pairs, "likelihood_displacement", "share", fell), size, "likelihood displacement: the "
		    "chosen answer is less likely than under the reference in %.0f%% of the last %zu pairs", 100 * fell, pairs);
	if (fabs(rho) >= 0.5)
		snprintf(say(&found[n++], pairs, "length_correlation", "correlation", rho), size, "reward and length: the margin "
		    "has a correlation of %.2f with the difference of the answers' lengths over the last %zu pairs", rho, pairs);
	if (collapsed(&sums, &watch->peak))
		snprintf(say(&found[n++], pairs, "margin_collapse", "log_ratio_margin", mean(&sums, DPO_WATCH_MARGIN)), size,
		    "margin collapse: chosen less rejected log-ratio is %.3g nats over the last %zu pairs, and was %.3g",
		    mean(&sums, DPO_WATCH_MARGIN), pairs, mean(&watch->peak, DPO_WATCH_MARGIN));
	if (difference && spread >= 1 && beta * spread < 0.1)
		snprintf(say(&found[n++], pairs, "beta_too_small", "beta_margin_rms", beta * spread), size, "beta %g is too small "
		    "to hold the policy to the reference: the margin is %.3g nats in root mean square over the last %zu pairs, beta "
		    "times it %.2g", beta, spread, pairs, beta * spread);
	return n;
}

void
dpo_watch_line(const struct dpo_finding *finding, struct dpo_buffer *log, double epoch, uint64_t step)
{
	dpo_buffer_printf(log, "{\"warning\":\"%s\",\"%s\":", finding->name, finding->figure);
	dpo_json_put_number(log, (double)(float)finding->value);
	dpo_buffer_printf(log, ",\"pairs\":%zu,\"epoch\":", finding->pairs);
	dpo_json_put_number(log, epoch);
	dpo_buffer_printf(log, ",\"step\":%" PRIu64 "}\n", step);
}

/* ------------------------------------------------------------------ checkpoints */

void
dpo_watch_save(const struct dpo_watch *watch, struct dpo_buffer *state)
{
	dpo_buffer_printf(state, "\"watch\":{\"steps\":%" PRIu64 ",", watch->steps);
	dpo_state_put_list(state, "now", watch->now.sum, DPO_WATCH_SUMS);
	dpo_buffer_byte(state, ',');
	dpo_state_put_list(state, "last", watch->last.sum, DPO_WATCH_SUMS);
	dpo_buffer_byte(state, ',');
	dpo_state_put_list(state, "peak", watch->peak.sum, DPO_WATCH_SUMS);
	dpo_buffer_byte(state, '}');
}

enum dpo_status
dpo_watch_resume(struct dpo_watch *watch, const cJSON *state, struct dpo_error *err)
{
	const cJSON *object = dpo_json_get(state, "watch");
	enum dpo_status status;

	if ((status = dpo_state_counter(&watch->steps, object, "steps", UINT64_MAX, err)) != DPO_OK ||
	    (status = dpo_state_list(watch->now.sum, DPO_WATCH_SUMS, object, "now", err)) != DPO_OK ||
	    (status = dpo_state_list(watch->last.sum, DPO_WATCH_SUMS, object, "last", err)) != DPO_OK)
		return status;
	return dpo_state_list(watch->peak.sum, DPO_WATCH_SUMS, object, "peak", err);
}
