#include "stepopts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_use of_schedule[] = {
	{ "warmup-steps", DPO_USES_WARMUP }, { "num-cycles", DPO_USES_CYCLES }, { "min-lr", DPO_USES_MIN_LR },
	{ "min-lr-rate", DPO_USES_MIN_LR }, { "lr-end", DPO_USES_POLYNOMIAL }, { "power", DPO_USES_POLYNOMIAL },
	{ "timescale", DPO_USES_TIMESCALE }, { "num-decay-steps", DPO_USES_DECAY }, { "decay-type", DPO_USES_DECAY },
	{ "min-lr-ratio", DPO_USES_DECAY }, { NULL, 0 },
};

static const struct cli_use of_optim[] = {
	{ "adam-beta1", DPO_USES_ADAM }, { "adam-beta2", DPO_USES_ADAM }, { "adam-epsilon", DPO_USES_ADAM },
	{ "rmsprop-alpha", DPO_USES_RMSPROP }, { "rmsprop-epsilon", DPO_USES_RMSPROP }, { "momentum", DPO_USES_MOMENTUM },
	{ NULL, 0 },
};

void
stepopts_check(const struct training_options *options)
{
	unsigned uses = dpo_schedule_find(options->schedule)->uses;

	cli_refuse_idle(of_schedule, uses, "lr-scheduler-type", options->schedule);
	cli_refuse_idle(of_optim, dpo_optim_find(options->optim)->uses, "optim", options->optim);
	if ((uses & DPO_USES_MIN_LR) && isnan(options->min_lr) == isnan(options->min_lr_rate))
		cli_usage("%s needs one of --min-lr and --min-lr-rate", options->schedule);
	if ((uses & DPO_USES_MIN_LR) && options->min_lr > options->learning_rate)
		cli_usage("--min-lr: %g is above the learning rate", options->min_lr);
	if ((uses & DPO_USES_POLYNOMIAL) && !(options->lr_end < options->learning_rate))
		cli_usage("--lr-end: %g is not below the learning rate", options->lr_end);
	if ((uses & DPO_USES_DECAY) && options->num_decay_steps == 0)
		cli_usage("%s needs --num-decay-steps", options->schedule);
	if ((uses & DPO_USES_DECAY) && cli_given("num-cycles") && strcmp(options->decay_type, "cosine") != 0)
		cli_usage("--num-cycles has no effect with --decay-type %s", options->decay_type);
}

/* ------------------------------------------------------------------ settings */

/* Where the name is in a list that ends with NULL; it is there. */
static int
place_of(const char *name, const char *const *list)
{
	int i = 0;

	while (strcmp(list[i], name) != 0)
		i++;
	return i;
}

struct dpo_schedule_settings
stepopts_schedule(const struct training_options *options)
{
	return (struct dpo_schedule_settings){
		.schedule = dpo_schedule_find(options->schedule), .warmup_steps = options->warmup_steps,
		.num_cycles = options->num_cycles, .min_lr = options->min_lr, .min_lr_rate = options->min_lr_rate,
		.lr_end = options->lr_end, .power = options->power, .timescale = options->timescale,
		.num_decay_steps = (double)options->num_decay_steps, .min_lr_ratio = options->min_lr_ratio,
		.decay_type = (enum dpo_decay)place_of(options->decay_type, dpo_decay_names),
	};
}

struct dpo_optim_settings
stepopts_optim(const struct training_options *options)
{
	return (struct dpo_optim_settings){
		.optimizer = dpo_optim_find(options->optim), .beta1 = options->beta1, .beta2 = options->beta2,
		.epsilon = options->epsilon, .alpha = options->rms_alpha, .rms_epsilon = options->rms_epsilon,
		.momentum = options->momentum, .weight_decay = options->weight_decay,
	};
}

/* ------------------------------------------------------------------ --formula */

static void
print_uses(const struct cli_use *list, unsigned uses)
{
	for (; list->name; list++)
		if (list->bit & uses)
			printf(" --%s", list->name);
	putchar('\n');
}

static bool
is_wanted(const char *name, const char *one, const char *all)
{
	return strcmp(name, one) == 0 || strcmp(name, all) == 0;
}

static bool
print_optimizers(const char *name)
{
	bool found = false;

	for (const struct dpo_optimizer *o = dpo_optimizers; o->name; o++) {
		if (!is_wanted(name, o->name, "optim"))
			continue;
		printf("%s\n  step        %s\n  state       %s\n  source      %s\n  options     --weight-decay", o->name,
		    o->formula, o->memory, o->source);
		print_uses(of_optim, o->uses);
		found = true;
	}
	if (found)
		printf("p: weights; g: the clipped gradient; lr: learning rate; wd: weight decay, 0 for biases and norms; "
		    "t: step, from 1\n");
	return found;
}

static bool
print_schedules(const char *name)
{
	bool found = false;

	for (const struct dpo_schedule *s = dpo_schedules; s->name; s++) {
		if (!is_wanted(name, s->name, "lr-scheduler-type"))
			continue;
		printf("%s\n  factor      %s\n  options    ", s->name, s->formula);
		print_uses(of_schedule, s->uses);
		found = true;
	}
	if (found)
		printf("s: steps done; W: steps of warm-up, in which the factor is s / W; T: all steps; p: (s - W) / (T - W)\n");
	return found;
}

void
stepopts_formula(const char *name)
{
	if (name && (print_optimizers(name) || print_schedules(name)))
		exit(cli_finish(0));
}
