#include "loss/loss.h"

#include "loss/logistic.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ shapes that several losses share */

/* Of z = b (s_c - s_r): the derivatives by the scores from that by z. */
static void
by_scores(struct dpo_loss_slopes *slopes, double dz, double beta)
{
	slopes->score[0] = beta * dz;
	slopes->score[1] = -beta * dz;
}

static double
margin_of_scores(const struct dpo_loss_input *in, const struct dpo_loss_settings *set)
{
	return set->beta * (in->score[0] - in->score[1]);
}

/* -(1-e) ls(z) - e ls(-z), and its derivative by z. */
static double
smoothed(double z, double e, double *dz)
{
	*dz = -(1.0 - e) * dpo_sigmoid(-z) + e * dpo_sigmoid(z);
	return -(1.0 - e) * dpo_log_sigmoid(z) - e * dpo_log_sigmoid(-z);
}

/* sg(z) sg(-z), the derivative of sg. */
static double
bell(double z)
{
	return dpo_sigmoid(z) * dpo_sigmoid(-z);
}

/* ------------------------------------------------------------------ losses of D */

static double
sigmoid(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = margin_of_scores(in, set);

	by_scores(slopes, -dpo_sigmoid(-z), set->beta);
	return -dpo_log_sigmoid(z);
}

static double
cdpo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double dz, value = smoothed(margin_of_scores(in, set), set->label_smoothing, &dz);

	by_scores(slopes, dz, set->beta);
	return value;
}

static double
robust(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = margin_of_scores(in, set), e = set->label_smoothing, scale = 1.0 / (1.0 - 2.0 * e);

	by_scores(slopes, (-(1.0 - e) * dpo_sigmoid(-z) - e * dpo_sigmoid(z)) * scale, set->beta);
	return (-(1.0 - e) * dpo_log_sigmoid(z) + e * dpo_log_sigmoid(-z)) * scale;
}

static double
hinge(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double room = 1.0 - margin_of_scores(in, set);

	by_scores(slopes, room > 0 ? -1.0 : 0.0, set->beta);
	return room > 0 ? room : 0.0;
}

static double
exo_pair(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = margin_of_scores(in, set), right = log1p(-set->label_smoothing), wrong = log(set->label_smoothing);

	by_scores(slopes, bell(z) * (z - right + wrong), set->beta);
	return dpo_sigmoid(z) * (dpo_log_sigmoid(z) - right) + dpo_sigmoid(-z) * (dpo_log_sigmoid(-z) - wrong);
}

/* exp(-z) m is taken as exp(-z + ls(z/tau)), which stays finite where exp(-z) does not. */
static double
discopop(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = margin_of_scores(in, set), tau = set->discopop_tau;
	double logistic = -dpo_log_sigmoid(z), rest = dpo_sigmoid(-z / tau);
	double exponential = exp(-z + dpo_log_sigmoid(z / tau));

	by_scores(slopes, -dpo_sigmoid(-z) * rest - logistic * bell(z / tau) / tau + exponential * (rest / tau - 1.0),
	    set->beta);
	return logistic * rest + exponential;
}

static double
odpo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = margin_of_scores(in, set) - set->odpo_alpha * in->margin;

	by_scores(slopes, -dpo_sigmoid(-z), set->beta);
	return -dpo_log_sigmoid(z);
}

static double
modpo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = (margin_of_scores(in, set) - in->objectives) / set->main_weight;

	by_scores(slopes, -dpo_sigmoid(-z) / set->main_weight, set->beta);
	return -dpo_log_sigmoid(z);
}

/* ------------------------------------------------------------------ losses of differences per token */

/* s_c/n_c - s_r/n_r; and the derivatives by the scores from that by it. */
static double
mean_difference(const struct dpo_loss_input *in)
{
	return in->score[0] / in->tokens[0] - in->score[1] / in->tokens[1];
}

static void
by_means(struct dpo_loss_slopes *slopes, const struct dpo_loss_input *in, double d)
{
	slopes->score[0] = d / in->tokens[0];
	slopes->score[1] = -d / in->tokens[1];
}

static double
sigmoid_norm(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = set->beta * mean_difference(in);

	by_means(slopes, in, -set->beta * dpo_sigmoid(-z));
	return -dpo_log_sigmoid(z);
}

static double
ipo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double error = mean_difference(in) - 0.5 / set->beta;

	by_means(slopes, in, 2.0 * error);
	return error * error;
}

static double
ipo_sum(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double error = in->score[0] - in->score[1] - 0.5 / set->beta;

	by_scores(slopes, 2.0 * error, 1.0);
	return error * error;
}

/* ------------------------------------------------------------------ losses of c and r each */

static double
nca_pair(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double b = set->beta, c = b * in->ratio[0], r = b * in->ratio[1];

	slopes->logp[0] = b * (0.5 * dpo_sigmoid(c) - dpo_sigmoid(-c));
	slopes->logp[1] = b * 0.5 * dpo_sigmoid(r);
	return -dpo_log_sigmoid(c) - 0.5 * dpo_log_sigmoid(-c) - 0.5 * dpo_log_sigmoid(-r);
}

static double
bco_pair(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double b = set->beta, c = b * in->ratio[0], r = b * in->ratio[1];

	slopes->logp[0] = -b * dpo_sigmoid(-c);
	slopes->logp[1] = b * dpo_sigmoid(r);
	return -dpo_log_sigmoid(c) - dpo_log_sigmoid(-r);
}

static double
sppo_hard(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double half = 0.5 / set->beta, won = in->ratio[0] - half, lost = in->ratio[1] + half;

	slopes->logp[0] = 2.0 * won;
	slopes->logp[1] = 2.0 * lost;
	return won * won + lost * lost;
}

static double
apo_zero(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double b = set->beta, c = b * in->ratio[0], r = b * in->ratio[1];

	slopes->logp[0] = -b * bell(c);
	slopes->logp[1] = b * bell(r);
	return dpo_sigmoid(-c) + dpo_sigmoid(r);
}

static double
apo_down(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double b = set->beta, c = b * in->ratio[0], z = b * (in->ratio[0] - in->ratio[1]);

	slopes->logp[0] = b * (bell(c) - bell(z));
	slopes->logp[1] = b * bell(z);
	return dpo_sigmoid(c) + dpo_sigmoid(-z);
}

static double
dpop(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double c = in->ratio[0], fallen = c < 0 ? -c : 0.0;
	double z = set->beta * (c - in->ratio[1] - set->dpop_lambda * fallen), dz = -set->beta * dpo_sigmoid(-z);

	slopes->logp[0] = dz * (c < 0 ? 1.0 + set->dpop_lambda : 1.0);
	slopes->logp[1] = -dz;
	return -dpo_log_sigmoid(z);
}

/* ------------------------------------------------------------------ losses without a reference */

static double
simpo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double z = set->beta * (in->logp[0] / in->tokens[0] - in->logp[1] / in->tokens[1]) - set->simpo_gamma;
	double dz = -set->beta * dpo_sigmoid(-z);

	slopes->logp[0] = dz / in->tokens[0];
	slopes->logp[1] = -dz / in->tokens[1];
	return -dpo_log_sigmoid(z);
}

/* With a = l/n the log of the mean probability: log odds = a - log(1 - exp(a)), of derivative 1 / (1 - exp(a)). */
static double
orpo(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	double a[2] = { in->logp[0] / in->tokens[0], in->logp[1] / in->tokens[1] };
	double z = (a[0] - dpo_log1mexp(a[0])) - (a[1] - dpo_log1mexp(a[1])), dz = -set->beta * dpo_sigmoid(-z);

	slopes->logp[0] = (dz / -expm1(a[0]) - 1.0) / in->tokens[0];
	slopes->logp[1] = -dz / -expm1(a[1]) / in->tokens[1];
	return -a[0] - set->beta * dpo_log_sigmoid(z);
}

static double
sft(const struct dpo_loss_input *in, const struct dpo_loss_settings *set, struct dpo_loss_slopes *slopes)
{
	(void)set;
	slopes->chosen_nll = 1.0;
	return in->chosen_nll;
}

/* ------------------------------------------------------------------ the table */

#define PAIR .pair = true, .reference = true
#define FACTORS (DPO_TAKES_LD_ALPHA | DPO_TAKES_WEIGHTING)
#define SCORES (FACTORS | DPO_TAKES_DIVERGENCE)

const struct dpo_loss dpo_losses[] = {
	{ .name = "sigmoid", .formula = "-ls(b D)",
	  .derivative = "dl/dD = -b sg(-b D)",
	  .source = "Rafailov et al. 2023, arXiv:2305.18290, eq. 7",
	  PAIR, .difference = true, .takes = SCORES, .value = sigmoid },
	{ .name = "hinge", .formula = "max(0, 1 - b D)",
	  .derivative = "dl/dD = -b where b D < 1, else 0",
	  .source = "Zhao et al. 2023 (SLiC-HF), arXiv:2305.10425, section 2; on log-ratios: Liu et al. 2023 (RSO), "
	      "arXiv:2309.06657",
	  PAIR, .difference = true, .takes = SCORES, .value = hinge },
	{ .name = "ipo", .formula = "(s_c/n_c - s_r/n_r - 1/(2b))^2",
	  .derivative = "dl/ds_c = 2 (s_c/n_c - s_r/n_r - 1/(2b)) / n_c",
	  .source = "Azar et al. 2023, arXiv:2310.12036, eq. 17, per token",
	  PAIR, .difference = true, .takes = SCORES, .value = ipo },
	{ .name = "exo_pair", .formula = "sg(b D) (ls(b D) - ln(1-e)) + sg(-b D) (ls(-b D) - ln e)",
	  .derivative = "dl/dD = b sg(b D) sg(-b D) (b D - ln(1-e) + ln e)",
	  .source = "Ji et al. 2024 (EXO), arXiv:2402.00856, eq. 16",
	  PAIR, .difference = true, .takes = SCORES | DPO_TAKES_SMOOTHING, .value = exo_pair },
	{ .name = "nca_pair", .formula = "-ls(b c) - ls(-b c)/2 - ls(-b r)/2",
	  .derivative = "dl/dc = b (sg(b c)/2 - sg(-b c)), dl/dr = b sg(b r)/2",
	  .source = "Chen et al. 2024 (NCA), arXiv:2402.05369",
	  PAIR, .takes = FACTORS, .value = nca_pair },
	{ .name = "robust", .formula = "(-(1-e) ls(b D) + e ls(-b D)) / (1 - 2e)",
	  .derivative = "dl/dD = -b ((1-e) sg(-b D) + e sg(b D)) / (1 - 2e)",
	  .source = "Chowdhury et al. 2024 (rDPO), arXiv:2403.00409",
	  PAIR, .difference = true, .takes = SCORES | DPO_TAKES_SMOOTHING, .value = robust },
	{ .name = "bco_pair", .formula = "-ls(b c) - ls(-b r)",
	  .derivative = "dl/dc = -b sg(-b c), dl/dr = b sg(b r)",
	  .source = "Jung et al. 2024 (BCO), arXiv:2404.04656, without its reward shift, as TRL",
	  PAIR, .takes = FACTORS, .value = bco_pair },
	{ .name = "sppo_hard", .formula = "(c - 1/(2b))^2 + (r + 1/(2b))^2",
	  .derivative = "dl/dc = 2 (c - 1/(2b)), dl/dr = 2 (r + 1/(2b))",
	  .source = "Wu et al. 2024 (SPPO), arXiv:2405.00675, eq. 4.7 with P of 1 and 0",
	  PAIR, .takes = FACTORS, .value = sppo_hard },
	{ .name = "aot", .formula = "-(1-e) ls(b d) - e ls(-b d), d = sort(l_c - l_r) - sort(the reference's)",
	  .derivative = "dl/dd = -b ((1-e) sg(-b d) - e sg(b d))",
	  .source = "Melnyk et al. 2024 (AOT), arXiv:2406.05882, paired",
	  PAIR, .whole_batch = true, .takes = DPO_TAKES_LD_ALPHA | DPO_TAKES_SMOOTHING },
	{ .name = "aot_unpaired", .formula = "-(1-e) ls(b d) - e ls(-b d), d = sort(c) - sort(r)",
	  .derivative = "dl/dd = -b ((1-e) sg(-b d) - e sg(b d))",
	  .source = "Melnyk et al. 2024 (AOT), arXiv:2406.05882, unpaired",
	  PAIR, .whole_batch = true, .unpaired = true, .takes = DPO_TAKES_LD_ALPHA | DPO_TAKES_SMOOTHING },
	{ .name = "apo_zero", .formula = "1 - sg(b c) + sg(b r)",
	  .derivative = "dl/dc = -b sg(b c) sg(-b c), dl/dr = b sg(b r) sg(-b r)",
	  .source = "D'Oosterlinck et al. 2024 (APO), arXiv:2408.06266, eq. 7",
	  PAIR, .takes = FACTORS, .value = apo_zero },
	{ .name = "apo_down", .formula = "sg(b c) + 1 - sg(b (c - r))",
	  .derivative = "dl/dc = b (sg(b c) sg(-b c) - q), dl/dr = b q, q = sg(b (c-r)) sg(-b (c-r))",
	  .source = "D'Oosterlinck et al. 2024 (APO), arXiv:2408.06266, eq. 8",
	  PAIR, .takes = FACTORS, .value = apo_down },
	{ .name = "discopop", .formula = "-ls(z) (1 - m) + exp(-z) m, z = b D, m = sg(z/tau)",
	  .derivative = "dl/dD = b (-sg(-z) (1-m) + ls(z) m (1-m)/tau + exp(-z) m ((1-m)/tau - 1))",
	  .source = "Lu et al. 2024 (DiscoPOP), arXiv:2406.08414, eq. 5",
	  PAIR, .difference = true, .takes = SCORES | DPO_TAKES_DISCOPOP_TAU, .value = discopop },
	{ .name = "sft", .formula = "-log pi(chosen), mean over the chosen tokens of the batch",
	  .derivative = "dl/dl_c = -1",
	  .source = "maximum likelihood",
	  .per_token = true, .value = sft },
	{ .name = "sigmoid_norm", .formula = "-ls(b (s_c/n_c - s_r/n_r))",
	  .derivative = "dl/ds_c = -b sg(-b (s_c/n_c - s_r/n_r)) / n_c",
	  .source = "length-normalized DPO: the means of SimPO, arXiv:2405.14734, of log-ratios",
	  PAIR, .difference = true, .takes = SCORES, .value = sigmoid_norm },
	{ .name = "cdpo", .formula = "-(1-e) ls(b D) - e ls(-b D)",
	  .derivative = "dl/dD = -b ((1-e) sg(-b D) - e sg(b D))",
	  .source = "Mitchell 2023, \"A note on DPO with noisy preferences and relationship to IPO\", eq. 3",
	  PAIR, .difference = true, .takes = SCORES | DPO_TAKES_SMOOTHING, .value = cdpo },
	{ .name = "dpop", .formula = "-ls(b (c - r - lambda max(0, -c)))",
	  .derivative = "dl/dc = -b sg(-z) (1 + lambda where c < 0), dl/dr = b sg(-z)",
	  .source = "Pal et al. 2024 (Smaug), arXiv:2402.13228",
	  PAIR, .takes = FACTORS | DPO_TAKES_DPOP_LAMBDA, .value = dpop },
	{ .name = "ipo_sum", .formula = "(D - 1/(2b))^2",
	  .derivative = "dl/dD = 2 (D - 1/(2b))",
	  .source = "Azar et al. 2023, arXiv:2310.12036, eq. 17",
	  PAIR, .difference = true, .takes = SCORES, .value = ipo_sum },
	{ .name = "odpo", .formula = "-ls(b D - alpha margin)",
	  .derivative = "dl/dD = -b sg(-(b D - alpha margin))",
	  .source = "Amini et al. 2024 (ODPO), arXiv:2402.10571",
	  PAIR, .takes = SCORES | DPO_TAKES_ODPO_ALPHA, .value = odpo },
	{ .name = "simpo", .formula = "-ls(b (l_c/n_c - l_r/n_r) - gamma)",
	  .derivative = "dl/dl_c = -b sg(-z) / n_c",
	  .source = "Meng et al. 2024 (SimPO), arXiv:2405.14734",
	  .pair = true, .takes = FACTORS | DPO_TAKES_SIMPO_GAMMA, .value = simpo },
	{ .name = "orpo", .formula = "-l_c/n_c - b ls(log odds(l_c/n_c) - log odds(l_r/n_r)), odds(a) = exp(a)/(1-exp(a))",
	  .derivative = "dl/dl_c = -(1 + b sg(-z)/(1 - exp(l_c/n_c))) / n_c, dl/dl_r = b sg(-z)/(1 - exp(l_r/n_r)) / n_r",
	  .source = "Hong et al. 2024 (ORPO), arXiv:2403.07691; TRL's takes the prompt into the first term",
	  .pair = true, .takes = FACTORS, .value = orpo },
	{ .name = "modpo", .formula = "-ls((b D - sum_k w_k m_k) / w_0), w_0 = 1 - sum_k w_k",
	  .derivative = "dl/dD = -(b/w_0) sg(-z)",
	  .source = "Zhou et al. 2023 (MODPO), arXiv:2310.03708",
	  PAIR, .takes = SCORES | DPO_TAKES_OBJECTIVES, .value = modpo },
	{ 0 },
};

const struct dpo_loss *
dpo_loss_find(const char *name)
{
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		if (strcmp(loss->name, name) == 0)
			return loss;
	return NULL;
}

/* ------------------------------------------------------------------ label_prob */

static struct dpo_loss_input
swap(const struct dpo_loss_input *in)
{
	struct dpo_loss_input swapped = *in;

	for (size_t a = 0; a < 2; a++) {
		swapped.logp[a] = in->logp[1 - a];
		swapped.ratio[a] = in->ratio[1 - a];
		swapped.score[a] = in->score[1 - a];
		swapped.tokens[a] = in->tokens[1 - a];
	}
	return swapped;
}

double
dpo_loss_value(const struct dpo_loss *loss, const struct dpo_loss_input *input,
    const struct dpo_loss_settings *settings, double p, struct dpo_loss_slopes *slopes)
{
	struct dpo_loss_input swapped = swap(input);
	struct dpo_loss_slopes other = { 0 };
	double value, flipped;

	*slopes = (struct dpo_loss_slopes){ 0 };
	value = loss->value(input, settings, slopes);
	if (p == 1.0)
		return value;
	assert(loss->difference);
	flipped = loss->value(&swapped, settings, &other);
	for (size_t a = 0; a < 2; a++)
		slopes->score[a] = p * slopes->score[a] + (1.0 - p) * other.score[1 - a];
	return p * value + (1.0 - p) * flipped;
}

/* ------------------------------------------------------------------ losses of the whole batch */

/* What is sorted: the policy's side (0) or the side it is compared with (1). */
static double
key(const struct dpo_loss *loss, const struct dpo_loss_input *in, int side)
{
	double policy = in->logp[0] - in->logp[1];

	if (loss->unpaired)
		return in->ratio[side];
	return side == 0 ? policy : policy - (in->ratio[0] - in->ratio[1]);
}

/* order[k] is the index of the k-th smallest key: a merge sort, which keeps equal keys in their order. */
static void
sort(const struct dpo_loss *loss, const struct dpo_loss_input *inputs, int side, size_t n, size_t *order, size_t *scratch)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t low = 0; low < n; low += 2 * width) {
			size_t middle = low + width < n ? low + width : n, high = low + 2 * width < n ? low + 2 * width : n;

			for (size_t i = low, j = middle, to = low; to < high; to++)
				scratch[to] = j >= high || (i < middle && !(key(loss, &inputs[order[j]], side) <
				    key(loss, &inputs[order[i]], side))) ? order[i++] : order[j++];
		}
		memcpy(order, scratch, n * sizeof *order);
	}
}

void
dpo_loss_sorted(const struct dpo_loss *loss, size_t n, const struct dpo_loss_input *inputs,
    const struct dpo_loss_settings *settings, size_t *scratch, double *values, struct dpo_loss_slopes *slopes)
{
	size_t *policy = scratch, *other = scratch + n;
	double b = settings->beta, dz;

	sort(loss, inputs, 0, n, policy, scratch + 2 * n);
	sort(loss, inputs, 1, n, other, scratch + 2 * n);
	memset(slopes, 0, n * sizeof *slopes);
	for (size_t k = 0; k < n; k++) {
		double d = key(loss, &inputs[policy[k]], 0) - key(loss, &inputs[other[k]], 1);

		values[policy[k]] = smoothed(b * d, settings->label_smoothing, &dz);
		slopes[policy[k]].logp[0] = b * dz;
		slopes[loss->unpaired ? other[k] : policy[k]].logp[1] = -b * dz;
	}
}
