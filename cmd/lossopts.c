#include "lossopts.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ --formula */

static void
print_options(unsigned takes)
{
	printf("  options     --beta");
	for (unsigned bit = 1; dpo_objective_option(bit); bit *= 2)
		if (takes & bit)
			printf(" %s", dpo_objective_option(bit));
	putchar('\n');
}

static void
print_loss(const struct dpo_loss *loss)
{
	printf("%s\n  loss        %s\n  derivative  %s\n  source      %s\n", loss->name, loss->formula, loss->derivative,
	    loss->source);
	if (!loss->per_token)
		print_options(loss->takes);
}

static _Noreturn void
print_formula(const char *name)
{
	bool all = strcmp(name, "all") == 0;

	if (!all && !dpo_loss_find(name))
		cli_usage("--formula: there is no loss \"%s\"; \"all\" prints every one", name);
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		if (all || strcmp(loss->name, name) == 0)
			print_loss(loss);
	printf("l_c, l_r: log-probs of chosen and rejected; c, r: their log-ratios to the reference; D = s_c - s_r, where s is\n"
	    "c and r or their f-divergence score; n: tokens; b: beta; e: label_smoothing; ls, sg: log sigmoid, sigmoid\n");
	exit(cli_finish(0));
}

/* ------------------------------------------------------------------ lists */

enum { ITEM = 64 };

/* The next item of a list with commas between; *at goes past it. False at the end. */
static bool
next_item(const char *option, const char **at, char item[ITEM])
{
	size_t n = *at ? strcspn(*at, ",") : 0;

	if (!*at)
		return false;
	if (n == 0 || n >= ITEM)
		cli_usage("%s: \"%.*s\" is not an item of a list", option, (int)(n < ITEM ? n : ITEM), *at);
	memcpy(item, *at, n);
	item[n] = '\0';
	*at = (*at)[n] == ',' ? *at + n + 1 : NULL;
	return true;
}

static double
number(const char *option, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value))
		cli_usage("%s: \"%s\" is not a number", option, text);
	return value;
}

static void
add_losses(struct dpo_objective *objective, const char *types)
{
	char name[ITEM];

	while (next_item("--loss-type", &types, name)) {
		if (objective->n == DPO_OBJECTIVE_LOSSES)
			cli_usage("--loss-type: more than %d losses", DPO_OBJECTIVE_LOSSES);
		if (!(objective->losses[objective->n] = dpo_loss_find(name)))
			cli_usage("--loss-type: there is no loss \"%s\"; --formula all lists them", name);
		objective->weights[objective->n++] = 1.0;
	}
}

static void
add_weights(struct dpo_objective *objective, const char *weights)
{
	char text[ITEM];
	size_t n = 0;

	while (next_item("--loss-weights", &weights, text)) {
		if (n < objective->n)
			objective->weights[n] = number("--loss-weights", text);
		n++;
	}
	if (n != 0 && n != objective->n)
		cli_usage("--loss-weights: %zu for %zu losses", n, objective->n);
}

static void
add_columns(struct dpo_objective *objective, const struct cli_list *columns)
{
	if (columns->count > DPO_OBJECTIVE_COLUMNS)
		cli_usage("--objective: more than %d", DPO_OBJECTIVE_COLUMNS);
	for (size_t k = 0; k < columns->count; k++) {
		const char *equals = strrchr(columns->items[k], '=');
		char *name = equals ? dpo_size_copy(columns->items[k], (size_t)(equals - columns->items[k])) : NULL;

		if (!name || !*name)
			cli_usage("--objective: \"%s\" is not NAME=WEIGHT", columns->items[k]);
		for (size_t i = 0; i < k; i++)
			if (strcmp(objective->columns[i], name) == 0)
				cli_usage("--objective: \"%s\" appears twice", name);
		objective->columns[k] = name;
		objective->column_weights[k] = number("--objective", equals + 1);
	}
	objective->n_columns = columns->count;
}

/* ------------------------------------------------------------------ all of it */

/* What the user asked for; the divergence that holds anyway asks for nothing. */
static unsigned
given(const struct dpo_objective *objective)
{
	unsigned bits = 0;

	for (unsigned bit = 1; dpo_objective_option(bit); bit *= 2)
		if (cli_given(dpo_objective_option(bit) + 2))
			bits |= bit;
	if (objective->divergence == &dpo_divergences[0])
		bits &= ~(unsigned)DPO_TAKES_DIVERGENCE;
	return bits;
}

struct dpo_objective
loss_objective(const struct loss_options *options)
{
	struct dpo_objective objective = {
		.settings = { .beta = options->beta, .label_smoothing = options->label_smoothing,
			.discopop_tau = options->discopop_tau, .dpop_lambda = options->dpop_lambda,
			.simpo_gamma = options->simpo_gamma, .odpo_alpha = options->odpo_alpha },
		.divergence = dpo_divergence_find(options->divergence), .alpha_coef = options->alpha_coef,
		.use_ld_alpha = cli_given("ld-alpha"), .ld_alpha = options->ld_alpha,
		.use_weighting = options->use_weighting, .reference_free = options->reference_free,
	};
	struct dpo_error err;

	if (options->formula)
		print_formula(options->formula);
	add_losses(&objective, options->types);
	add_weights(&objective, options->weights);
	add_columns(&objective, &options->columns);
	if (dpo_objective_check(&objective, given(&objective), &err) != DPO_OK)
		cli_usage("%s", err.text);
	if (cli_given("f-alpha-divergence-coef") && strcmp(options->divergence, "alpha_divergence") != 0)
		cli_usage("--f-alpha-divergence-coef has no effect on %s", options->divergence);
	return objective;
}
