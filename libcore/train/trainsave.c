#include "train/trainsave.h"

#include "base/buffer.h"
#include "base/json.h"
#include "train/state.h"
#include "train/trainparts.h"

#include <inttypes.h>

enum { BLOCKS_MAX = 3 + DPO_OPTIM_STATES };

/* state.json: counters as numbers, the window's sums as hexadecimal floating point, which is exact. */
static void
write_state(const struct dpo_train *train, struct dpo_buffer *state)
{
	dpo_buffer_printf(state, "{\"step\":%" PRIu64 ",\"evaluated\":%" PRIu64 ",\"num_tokens\":%" PRIu64
	    ",\"window_steps\":%" PRIu64 ",", train->done, train->evaluated, train->num_tokens, train->window.steps);
	dpo_state_put(state, "loss", train->last_loss);
	dpo_buffer_string(state, ",\"window\":{");
	for (int i = 0, n = 0; i < DPO_METRICS; i++)
		if (train->window.sum.present[i]) {
			dpo_buffer_string(state, n++ ? "," : "");
			dpo_state_put(state, dpo_metric_name((enum dpo_metric)i), train->window.sum.value[i]);
		}
	dpo_buffer_string(state, "},");
	dpo_watch_save(&train->watch, state);
	dpo_buffer_byte(state, ',');
	dpo_best_save(&train->best, state);
	dpo_buffer_string(state, "}\n");
}

static enum dpo_status
read_window(struct dpo_train *train, const cJSON *state, struct dpo_error *err)
{
	const cJSON *window = dpo_json_get(state, "window");
	enum dpo_status status = DPO_OK;

	for (int i = 0; i < DPO_METRICS && status == DPO_OK; i++) {
		const char *name = dpo_metric_name((enum dpo_metric)i);

		train->window.sum.present[i] = dpo_json_get(window, name) != NULL;
		if (train->window.sum.present[i])
			status = dpo_state_number(&train->window.sum.value[i], window, name, err);
	}
	return status;
}

static enum dpo_status
read_state(struct dpo_train *train, const struct dpo_buffer *text, struct dpo_error *err)
{
	cJSON *state;
	enum dpo_status status = dpo_json_parse(&state, (const char *)text->data, text->len, err);

	if (status != DPO_OK)
		return status;
	if ((status = dpo_state_counter(&train->done, state, "step", train->total, err)) == DPO_OK &&
	    (status = dpo_state_counter(&train->evaluated, state, "evaluated", train->total, err)) == DPO_OK &&
	    (status = dpo_state_counter(&train->num_tokens, state, "num_tokens", UINT64_MAX, err)) == DPO_OK &&
	    (status = dpo_state_counter(&train->window.steps, state, "window_steps", train->total, err)) == DPO_OK &&
	    (status = dpo_state_number(&train->last_loss, state, "loss", err)) == DPO_OK &&
	    (status = dpo_watch_resume(&train->watch, state, err)) == DPO_OK &&
	    (status = dpo_best_resume(&train->best, state, err)) == DPO_OK)
		status = read_window(train, state, err);
	cJSON_Delete(state);
	return status;
}

/* All that is carried from step to step; their number. */
static size_t
list_blocks(const struct dpo_train *train, struct dpo_params_block blocks[BLOCKS_MAX])
{
	size_t n = 0;

	blocks[n++] = (struct dpo_params_block){ "params/", train->trained.params, train->trained.block };
	for (size_t i = 0; i < train->optim.n_states; i++)
		blocks[n++] = train->optim.states[i];
	if (train->reference)
		blocks[n++] = (struct dpo_params_block){ "reference/", &train->model->params,
			dpo_reference_weights(train->reference) };
	if (train->best.weights)
		blocks[n++] = (struct dpo_params_block){ "best/", train->best.params, train->best.weights };
	return n;
}

enum dpo_status
dpo_train_save(struct dpo_train *train, const cJSON *run, struct dpo_out *out, int threads, struct dpo_error *err)
{
	struct dpo_params_block blocks[BLOCKS_MAX];
	size_t n = list_blocks(train, blocks);
	struct dpo_buffer state = { 0 };
	enum dpo_status status;

	dpo_optim_settle(&train->optim);
	write_state(train, &state);
	status = state.failed ? dpo_fail_memory(err) :
	    dpo_checkpoint_write(out, run, &state, &train->log, blocks, n, threads, err);
	dpo_buffer_free(&state);
	return status;
}

enum dpo_status
dpo_train_resume(struct dpo_train *train, struct dpo_checkpoint *checkpoint, int threads, struct dpo_error *err)
{
	struct dpo_params_block blocks[BLOCKS_MAX];
	size_t n = list_blocks(train, blocks);
	struct dpo_buffer state = { 0 };
	enum dpo_status status;

	dpo_buffer_clear(&train->log);
	status = dpo_checkpoint_read(checkpoint, &state, &train->log, blocks, n, threads, err);
	if (status == DPO_OK)
		status = read_state(train, &state, err);
	if (status == DPO_OK && train->reference)
		dpo_reference_resume(train->reference, train->done);
	dpo_buffer_free(&state);
	return status;
}
