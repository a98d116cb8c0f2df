#include "dryrun.h"

#include "base/buffer.h"
#include "train/estimate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of this process in memory; 0 where the system does not tell. */
static size_t
resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	size_t all, pages = 0;

	if (file && fscanf(file, "%zu %zu", &all, &pages) != 2)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * What is there already: program, tokenizer, rows; the weights' blocks, if present, are counted separately. Nothing of mapped
 * files was used yet.
 */
static size_t
present(const struct dpo_model *model)
{
	size_t floats = model->params.total + (model->lora ? model->lora->params.total : 0);
	size_t now = resident(), blocks = model->weights ? floats * sizeof *model->weights : 0;

	return now > blocks ? now - blocks : 0;
}

static void
print_json(const struct dpo_estimate *e, size_t program)
{
	struct dpo_buffer out = { 0 };
	struct dpo_error err;

	dpo_buffer_printf(&out, "{\"parameters\": %zu,\n \"trained_parameters\": %zu,\n \"memory\": {\n", e->parameters,
	    e->trained);
	dpo_buffer_printf(&out, "  \"program_and_rows\": %zu,\n  \"weights\": %zu,\n  \"packed_weights\": %zu,\n"
	    "  \"gradients\": %zu,\n  \"moments\": %zu,\n",
	    program, e->weights, e->packed, e->gradients, e->moments);
	dpo_buffer_printf(&out,
	    "  \"activations\": %zu,\n  \"reference\": %zu,\n  \"best\": %zu,\n  \"output\": %zu,\n  \"total\": %zu},\n",
	    e->activations, e->reference, e->best, e->output, e->total + program);
	dpo_buffer_printf(&out, " \"steps\": %" PRIu64 ",\n \"rows\": %" PRIu64 ",\n \"tokens\": %" PRIu64 ",\n", e->steps, e->rows,
	    e->tokens);
	dpo_buffer_printf(&out, " \"operations\": %.4g,\n \"seconds\": %.3g}\n", e->operations, e->seconds);
	if (out.failed)
		cli_check(dpo_fail_memory(&err), &err);
	if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		cli_check(dpo_fail_errno(&err, "standard output"), &err);
	dpo_buffer_free(&out);
}

/* x in so many digits, or all that are before the point; no exponent. */
static const char *
figure(char text[32], double x, int digits)
{
	if (x + 0.5 < pow(10, digits))
		snprintf(text, 32, "%.*g", digits, x);
	else
		snprintf(text, 32, "%.0f", x);
	return text;
}

static void
note(const struct dpo_estimate *e, size_t program)
{
	const double all = (double)(e->total + program), unit = all < 1e9 ? 1e6 : 1e9, minutes = e->seconds / 60;
	const double span = minutes < 1 ? e->seconds : minutes < 90 ? minutes : minutes / 60;
	const char *name = unit < 1e9 ? "MB" : "GB";
	char text[6][32];

	cli_note("estimate: %s %s of memory (weights %s, gradients %s, moments %s, activations %s), %" PRIu64
	    " steps, %.3g operations, about %s %s", figure(text[0], all / unit, 3), name,
	    figure(text[1], (double)e->weights / unit, 3), figure(text[2], (double)e->gradients / unit, 3),
	    figure(text[3], (double)e->moments / unit, 3), figure(text[4], (double)e->activations / unit, 3), e->steps,
	    e->operations,
	    figure(text[5], span, 2), minutes < 1 ? "seconds" : minutes < 90 ? "minutes" : "hours");
	if (e->reference)
		cli_note("--sync-ref-model: the reference takes %s %s of it", figure(text[0], (double)e->reference / unit, 3),
		    name);
}

void
dryrun_estimate(struct training *training)
{
	const struct training_options *options = training->options;
	struct dpo_estimate e;
	struct dpo_error err;
	size_t program;
	int threads = (int)options->common.threads;

	cli_check(dpo_estimate_run(&e, &training->recipe, &training->model, &training->data.rows,
	    options->eval ? &training->eval.rows : NULL, threads, &err), &err);
	program = present(&training->model);
	if (!options->common.quiet || options->dry_run)
		dpo_estimate_time(&e, &training->model, training->recipe.bf16, threads);
	if (options->dry_run) {
		print_json(&e, program);
		exit(cli_finish(0));
	}
	if (options->max_memory > 0 && e.total + program > (size_t)options->max_memory)
		cli_check(dpo_fail(&err, DPO_NOMEM, "the run needs %zu bytes of memory, more than --max-memory %zu",
		    e.total + program, (size_t)options->max_memory), &err);
	note(&e, program);
}
