/* dpo-gen - continue prompts with a policy
 *
 * Reads prompts as JSON Lines (or those of a pairs stream) and writes each row with a completion: its text, its token ids,
 * their log-probs under the policy and, with -r, under a reference. Many prompts are computed at once, rows come out in
 * order. A sample depends on the model, the options, its row's id and its number alone.
 *
 *	dpo-gen -m policy.dpo --temperature 0 prompts.jsonl
 */
#include "base/json.h"
#include "cli.h"
#include "decoder/generate.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "policy.h"
#include "rows/prompts.h"
#include "rows/stops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct options {
	struct cli_common common;
	const char *model, *adapter, *reference;
	struct cli_list stop;
	int64_t samples, max_new_tokens, batch_size, seed, top_k;
	double temperature, top_p, min_p, repetition_penalty;
};

static const struct cli_option table[] = {
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "POLICY",
	    "the policy: a model stream or directory", 0, 0, NULL },
	POLICY_ADAPTER(struct options),
	{ "reference", 'r', CLI_TEXT, offsetof(struct options, reference), "REF",
	    "give the log-probs of completions under this model too", 0, 0, NULL },
	{ "num-samples", 'n', CLI_INTEGER, offsetof(struct options, samples), "N", "completions of each prompt", 1, 1 << 20, NULL },
	{ "max-new-tokens", 0, CLI_INTEGER, offsetof(struct options, max_new_tokens), "N", "tokens of a completion at most", 1,
	    1 << 24, NULL },
	{ "temperature", 0, CLI_NUMBER, offsetof(struct options, temperature), "T",
	    "divide logits by this; 0: greedy", 0, 1e6, NULL },
	{ "top-k", 0, CLI_INTEGER, offsetof(struct options, top_k), "K",
	    "draw from the K likeliest tokens; 0: from all", 0, 1 << 24, NULL },
	{ "top-p", 0, CLI_NUMBER, offsetof(struct options, top_p), "P",
	    "draw from the likeliest tokens that make up this share", 0, 1,
	    NULL },
	{ "min-p", 0, CLI_NUMBER, offsetof(struct options, min_p), "P",
	    "draw from tokens of at least this share of the likeliest's probability", 0, 1, NULL },
	{ "repetition-penalty", 0, CLI_NUMBER, offsetof(struct options, repetition_penalty), "R",
	    "divide positive logits of tokens seen by this, multiply negative ones", 1e-3, 1e3, NULL },
	{ "stop", 0, CLI_LIST, offsetof(struct options, stop), "STRING",
	    "end a completion at this text; may be repeated", 0, 0, NULL },
	{ "seed", 0, CLI_INTEGER, offsetof(struct options, seed), "N", "of the random numbers", 0, 9007199254740992.0, NULL },
	{ "batch-size", 0, CLI_INTEGER, offsetof(struct options, batch_size), "N", "completions at work at once", 1, 4096, NULL },
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-gen", .summary = "continue prompts with a policy", .operands = "[FILE]", .max_operands = 1,
	.options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-gen -m policy.dpo --temperature 0 prompts.jsonl",
};

/* Members this program writes: a row's own of these names are left out. */
static const char *const own_members[] = { "sample", "prompt_ids", "completion", "eos", "completion_ids", "logps", "logp",
    "ref_logps",
	"ref_logp", "finish_reason", NULL };

static const char *const finish_names[] = { "", "eos", "stop", "length" };

struct job {
	struct dpo_model model, reference;
	struct dpo_tokenizer *tokenizer;	/* NULL: the model has none */
	struct dpo_ids eos;
	struct dpo_stops stops;
	struct dpo_generate_settings settings;
	struct dpo_generator *generator;
	struct dpo_scorer *scorer;		/* of the reference; NULL: none */
	float *ref_logps;			/* owned; [max_tokens] */
	const char *name;			/* of the prompts' file */
	struct dpo_prompts *prompts;
	struct dpo_prompt prompt;
	uint64_t rows;				/* read */
	size_t samples, asked;			/* of each row; of the current row */
	bool ended;				/* no more rows */
	uint64_t finished[4], tokens;		/* by reason */
	struct dpo_out out;
	struct dpo_buffer line;
};

/* ------------------------------------------------------------------ opening */

static void
open_model(struct job *job, const struct options *options)
{
	struct dpo_error err;

	cli_note_kernel();
	policy_open(&job->model, options->model, options->adapter, (int)options->common.threads);
	if ((*job->model.tokenizer_id && dpo_tokenizer_open(&job->tokenizer, &job->model.files, &err) != DPO_OK) ||
	    dpo_stops_eos(&job->eos, &job->model.files, job->tokenizer, &err) != DPO_OK)
		cli_fail_at(&err, options->model);
	if (!job->tokenizer && options->stop.count)
		cli_usage("--stop: the model has no tokenizer");
}

static void
open_reference(struct job *job, const struct options *options)
{
	struct dpo_error err;

	policy_open(&job->reference, options->reference, NULL, (int)options->common.threads);
	if (strcmp(job->reference.tokenizer_id, job->model.tokenizer_id) != 0) {
		(void)dpo_fail(&err, DPO_MISMATCH, "its tokenizer is %.16s, the policy's %.16s", job->reference.tokenizer_id,
		    job->model.tokenizer_id);
		cli_fail_at(&err, options->reference);
	}
	if (job->reference.config.vocab_size < job->model.config.vocab_size) {
		(void)dpo_fail(&err, DPO_MISMATCH, "its vocabulary has %zu tokens, the policy's %zu",
		    job->reference.config.vocab_size, job->model.config.vocab_size);
		cli_fail_at(&err, options->reference);
	}
	job->scorer = policy_scorer(&job->reference, false, (int)options->common.threads);
	if (!(job->ref_logps = dpo_alloc((size_t)options->max_new_tokens, sizeof *job->ref_logps)))
		cli_check(dpo_fail_memory(&err), &err);
}

static void
open_prompts(struct job *job, const char *path)
{
	const struct dpo_header *header;
	struct dpo_error err;

	job->name = cli_input_name(path);
	cli_check(dpo_prompts_open(&job->prompts, cli_input(path), job->name, job->tokenizer, own_members, &err), &err);
	if ((header = dpo_prompts_header(job->prompts)))
		policy_same_tokenizer(header, &job->model, job->name);
}

static void
open_generator(struct job *job, const struct options *options)
{
	struct dpo_error err;

	job->stops = (struct dpo_stops){ job->tokenizer, options->stop.items, options->stop.count };
	job->settings = (struct dpo_generate_settings){
	    .sampling = { options->temperature, (size_t)options->top_k, options->top_p, options->min_p,
	    options->repetition_penalty },
	    .max_tokens = (size_t)options->max_new_tokens, .seed = (uint64_t)options->seed,
	    .eos = job->eos.ids, .n_eos = job->eos.count,
	    .stops = options->stop.count ? dpo_stops_seen : NULL, .context = &job->stops };
	job->samples = job->asked = (size_t)options->samples;
	cli_check(dpo_generator_new(&job->generator, &job->model.config, &job->model.params, job->model.weights,
	    job->model.lora, &job->settings, (size_t)options->batch_size, (int)options->common.threads, &err), &err);
}

/* ------------------------------------------------------------------ rows in */

/* A reference with fewer positions than the policy has them for all that this prompt may become. */
static enum dpo_status
check_positions(const struct job *job, struct dpo_error *err)
{
	size_t most = job->prompt.tokens.count + job->settings.max_tokens;

	if (most > dpo_generator_positions(job->generator))
		most = dpo_generator_positions(job->generator);
	if (job->scorer && most > job->reference.config.max_positions)
		return dpo_fail(err, DPO_FORMAT, "prompt and completion may have %zu tokens, the reference has %zu positions", most,
		    job->reference.config.max_positions);
	return DPO_OK;
}

static void
ask(struct job *job)
{
	struct dpo_error err;
	enum dpo_status status;

	if (job->asked == job->samples) {
		status = dpo_prompts_next(job->prompts, &job->prompt, &err);
		job->ended = status == DPO_END;
		if (job->ended)
			return;
		cli_check(status, &err);
		job->rows++;
		job->asked = 0;
	}
	if (check_positions(job, &err) != DPO_OK || dpo_generator_ask(job->generator, job->rows, &job->prompt.tokens,
	    job->prompt.id, job->asked, dpo_buffer_text(&job->prompt.members), &err) != DPO_OK) {
		dpo_prompts_blame(job->prompts, &err);
		cli_fail(&err);
	}
	job->asked++;
}

/* ------------------------------------------------------------------ rows out */

static void
put_logps(struct dpo_buffer *line, const char *name, const float *logps, size_t n)
{
	double sum = 0;

	dpo_buffer_printf(line, ",\"%ss\":[", name);
	for (size_t i = 0; i < n; i++) {
		dpo_buffer_printf(line, i ? ",%.9g" : "%.9g", (double)logps[i]);
		sum += (double)logps[i];
	}
	dpo_buffer_printf(line, "],\"%s\":%.9g", name, sum);
}

static void
put_ids(struct dpo_buffer *line, const char *name, const struct dpo_ids *ids)
{
	dpo_buffer_printf(line, ",\"%s\":[", name);
	for (size_t i = 0; i < ids->count; i++)
		dpo_buffer_printf(line, i ? ",%" PRId32 : "%" PRId32, ids->ids[i]);
	dpo_buffer_byte(line, ']');
}

/* An error of one completion names its row and the file. */
static void
check_row(const struct job *job, const struct dpo_completion *c, enum dpo_status status, struct dpo_error *err)
{
	if (status == DPO_OK)
		return;
	dpo_completion_blame(c, err);
	cli_fail_at(err, job->name);
}

static void
put_text(struct job *job, const struct dpo_completion *c, const char *name, const struct dpo_stops *stops, const int32_t *ids,
    size_t n)
{
	struct dpo_buffer text = { 0 };
	struct dpo_error err;

	check_row(job, c, dpo_stops_text(job->tokenizer, stops, &c->prompt, ids, n, &text, &err), &err);
	dpo_buffer_printf(&job->line, ",\"%s\":", name);
	dpo_json_put_string(&job->line, dpo_buffer_text(&text), text.len);
	dpo_buffer_free(&text);
}

/* The EOS is not part of the text: dpo-tok puts its own behind a plain text, and this one where the prompt is rendered. */
static void
put_texts(struct job *job, const struct dpo_completion *c)
{
	size_t n = c->tokens.count - (c->finish == DPO_FINISH_EOS);

	put_text(job, c, "completion", &job->stops, c->tokens.ids, n);
	if (c->finish == DPO_FINISH_EOS)
		put_text(job, c, "eos", NULL, c->tokens.ids + n, 1);
}

static void
score_reference(struct job *job, const struct dpo_completion *c)
{
	struct dpo_example example = { .prompt = c->prompt.ids, .n_prompt = c->prompt.count, .n_answers = 1,
	    .answer = { c->tokens.ids }, .n_answer = { c->tokens.count } };
	enum dpo_status status;
	struct dpo_error err;

	if ((status = dpo_score(job->scorer, &example, &job->ref_logps, NULL, &err)) != DPO_OK)
		dpo_error_prefix(&err, "the reference");
	check_row(job, c, status, &err);
	put_logps(&job->line, "ref_logp", job->ref_logps, c->tokens.count);
}

static void
write_row(struct job *job, const struct dpo_completion *c)
{
	struct dpo_buffer *line = &job->line;
	struct dpo_error err;

	dpo_buffer_clear(line);
	dpo_buffer_printf(line, "{%s,\"sample\":%zu", c->note, c->sample);
	put_ids(line, "prompt_ids", &c->prompt);
	if (job->tokenizer)
		put_texts(job, c);
	put_ids(line, "completion_ids", &c->tokens);
	put_logps(line, "logp", c->logps, c->tokens.count);
	if (job->scorer)
		score_reference(job, c);
	dpo_buffer_printf(line, ",\"finish_reason\":\"%s\"}\n", finish_names[c->finish]);
	if (line->failed)
		cli_check(dpo_fail_memory(&err), &err);
	cli_check(dpo_out_write(&job->out, line->data, line->len, &err), &err);
	job->finished[c->finish]++;
	job->tokens += c->tokens.count;
}

static void
generate_all(struct job *job)
{
	const struct dpo_completion *completion;
	struct cli_progress progress;
	struct dpo_error err;
	enum dpo_status status;
	uint64_t done = 0;

	cli_progress_start(&progress, "completions", 0, 0);
	for (;;) {
		while (!job->ended && dpo_generator_room(job->generator) > 0)
			ask(job);
		if ((status = dpo_generator_next(job->generator, &completion, &err)) == DPO_END)
			break;
		if (status != DPO_OK)
			cli_fail_at(&err, job->name);
		write_row(job, completion);
		cli_progress_show(&progress, ++done, NULL);
	}
	cli_progress_end();
}

static void
close_all(struct job *job)
{
	dpo_generator_free(job->generator);
	dpo_scorer_free(job->scorer);
	dpo_prompts_close(job->prompts);
	dpo_prompt_free(&job->prompt);
	dpo_tokenizer_free(job->tokenizer);
	dpo_model_free(&job->model);
	dpo_model_free(&job->reference);
	dpo_buffer_free(&job->line);
	free(job->eos.ids);
	free(job->ref_logps);
}

static void
check_options(const struct options *options)
{
	if (!options->model)
		cli_usage("-m POLICY is missing");
	if (options->temperature > 0 && options->temperature < DPO_SAMPLING_COLDEST)
		cli_usage("--temperature %g is neither 0 (greedy) nor at least %g", options->temperature, DPO_SAMPLING_COLDEST);
	for (size_t i = 0; i < options->stop.count; i++)
		if (!*options->stop.items[i])
			cli_usage("--stop: an empty text ends everything");
}

int
main(int argc, char **argv)
{
	struct options options = { .samples = 1, .max_new_tokens = 128, .batch_size = 16, .seed = 42, .temperature = 1, .top_p = 1,
		.repetition_penalty = 1 };
	struct job job = { 0 };
	char **operands;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";

	check_options(&options);
	cli_one_stdin((const char *const []){ options.model, options.adapter, options.reference, path }, 4);
	open_model(&job, &options);
	if (options.reference)
		open_reference(&job, &options);
	open_prompts(&job, path);
	open_generator(&job, &options);
	cli_output(&job.out, options.common.output, false);
	cli_mark(&job.out);
	generate_all(&job);
	policy_same(&job.model);
	policy_same(&job.reference);
	cli_commit(&job.out);
	cli_note("%" PRIu64 " prompts, %" PRIu64 " tokens; %" PRIu64 " completions ended in EOS, %" PRIu64 " at a stop string, "
	    "%" PRIu64 " at their length", job.rows, job.tokens, job.finished[DPO_FINISH_EOS], job.finished[DPO_FINISH_STOP],
	    job.finished[DPO_FINISH_LENGTH]);
	close_all(&job);
	return cli_finish(0);
}
