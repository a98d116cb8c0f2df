#include "train/watch.h"

#include "base/json.h"
#include "train/state.h"

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

/* What is judged, and by what. */
struct judged {
	struct dpo_watch_sums sums;
	const struct dpo_watch_sums *peak;
	double beta;
	bool difference;
	size_t pairs;
};

/* A finding of that name begun; its text is for the caller to print into. */
static char *
begin(struct dpo_finding *finding, const struct judged *j, const char *name, const char *figure, double value)
{
	*finding = (struct dpo_finding){ .name = name, .figure = figure, .value = value, .pairs = j->pairs };
	return finding->text;
}

enum { TEXT = sizeof ((struct dpo_finding *)0)->text };

static bool
nothing_moved(const struct judged *j, struct dpo_finding *finding)
{
	double moved = sqrt(mean(&j->sums, DPO_WATCH_RATIO2) / 2);

	if (moved < 0.1)
		snprintf(begin(finding, j, "nothing_moved", "log_ratio_rms", moved), TEXT, "the policy hardly moved: log-ratios to "
		    "the reference are %.2g nats in root mean square over the last %zu pairs; raise the learning rate, or train "
		    "longer", moved, j->pairs);
	return moved < 0.1;
}

static bool
likelihood_displacement(const struct judged *j, struct dpo_finding *finding)
{
	double fell = mean(&j->sums, DPO_WATCH_FELL);

	if (fell > 0.5)
		snprintf(begin(finding, j, "likelihood_displacement", "share", fell), TEXT, "likelihood displacement: the chosen "
		    "answer is less likely than under the reference in %.0f%% of the last %zu pairs", 100 * fell, j->pairs);
	return fell > 0.5;
}

static bool
length_correlation(const struct judged *j, struct dpo_finding *finding)
{
	double rho = correlation(&j->sums);

	if (fabs(rho) >= 0.5)
		snprintf(begin(finding, j, "length_correlation", "correlation", rho), TEXT, "reward and length: the margin has a "
		    "correlation of %.2f with the difference of the answers' lengths over the last %zu pairs", rho, j->pairs);
	return fabs(rho) >= 0.5;
}

static bool
margin_collapse(const struct judged *j, struct dpo_finding *finding)
{
	double high = mean(j->peak, DPO_WATCH_MARGIN), low = mean(&j->sums, DPO_WATCH_MARGIN);
	double error = sqrt(variance(&j->sums, DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2) / (double)j->pairs +
	    variance(j->peak, DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2) / fmax(1.0, j->peak->sum[DPO_WATCH_COUNT]));
	bool found = high > 0 && low < 0.5 * high && high - low > 3.0 * error;

	if (found)
		snprintf(begin(finding, j, "margin_collapse", "log_ratio_margin", low), TEXT, "margin collapse: chosen less "
		    "rejected log-ratio is %.3g nats over the last %zu pairs, and was %.3g", low, j->pairs, high);
	return found;
}

static bool
beta_too_small(const struct judged *j, struct dpo_finding *finding)
{
	double spread = sqrt(mean(&j->sums, DPO_WATCH_MARGIN2));
	bool found = j->difference && spread >= 1 && j->beta * spread < 0.1;

	if (found)
		snprintf(begin(finding, j, "beta_too_small", "beta_margin_rms", j->beta * spread), TEXT, "beta %g is too small to "
		    "hold the policy to the reference: the margin is %.3g nats in root mean square over the last %zu pairs, beta "
		    "times it %.2g", j->beta, spread, j->pairs, j->beta * spread);
	return found;
}

size_t
dpo_watch_findings(const struct dpo_watch *watch, double beta, bool difference,
    struct dpo_finding found[DPO_WATCH_FINDINGS])
{
	static bool (*const rules[])(const struct judged *j, struct dpo_finding *finding) = { likelihood_displacement,
		length_correlation, margin_collapse, beta_too_small };
	struct judged j = { .sums = watch->last, .peak = &watch->peak, .beta = beta, .difference = difference };
	size_t n = 0;

	merge(&j.sums, &watch->now);
	j.pairs = (size_t)j.sums.sum[DPO_WATCH_COUNT];
	if (j.pairs < DPO_WATCH_PAIRS)
		return 0;
	if (nothing_moved(&j, &found[0]))	/* then nothing else means anything */
		return 1;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		n += rules[i](&j, &found[n]);
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
