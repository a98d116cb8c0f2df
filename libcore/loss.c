#include "loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

double
dpo_loss_softplus_minus(double z)
{
	return log1p(exp(-fabs(z))) + (z < 0 ? -z : 0.0);
}

double
dpo_loss_sigmoid(double z)
{
	double e = exp(-fabs(z));

	return z >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static double
sigmoid(const struct dpo_loss_input *input, const struct dpo_loss_settings *settings, double slopes[2])
{
	double z = settings->beta * (input->ratio[0] - input->ratio[1]);

	slopes[0] = -settings->beta * dpo_loss_sigmoid(-z);
	slopes[1] = -slopes[0];
	return dpo_loss_softplus_minus(z);
}

static double
sft(const struct dpo_loss_input *input, const struct dpo_loss_settings *settings, double slopes[2])
{
	(void)settings;
	slopes[0] = -1.0;
	slopes[1] = 0.0;
	return -input->logp[0];
}

const struct dpo_loss dpo_losses[] = {
	{ .name = "sigmoid", .formula = "-log sigmoid(beta D)", .source = "Rafailov et al. 2023, arXiv:2305.18290, eq. 7",
	  .pair = true, .reference = true, .difference = true, .value = sigmoid },
	{ .name = "sft", .formula = "-log p(chosen | prompt), mean over tokens", .source = "maximum likelihood",
	  .per_token = true, .value = sft },
	{ 0 },
};

const char *const dpo_loss_names[] = { "sigmoid", "sft", NULL };

const struct dpo_loss *
dpo_loss_find(const char *name)
{
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		if (strcmp(loss->name, name) == 0)
			return loss;
	return NULL;
}

double
dpo_loss_value(const struct dpo_loss *loss, const struct dpo_loss_input *input,
    const struct dpo_loss_settings *settings, double p, double slopes[2])
{
	struct dpo_loss_input swapped = { { input->logp[1], input->logp[0] }, { input->ratio[1], input->ratio[0] } };
	double value = loss->value(input, settings, slopes), other[2], flipped;

	if (p == 1.0)
		return value;
	assert(loss->difference);
	flipped = loss->value(&swapped, settings, other);
	slopes[0] = p * slopes[0] + (1.0 - p) * other[1];
	slopes[1] = p * slopes[1] + (1.0 - p) * other[0];
	return p * value + (1.0 - p) * flipped;
}
