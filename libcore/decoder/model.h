/*
 * model - any MODEL opened: a Hugging Face directory or a model stream. Layer 9; uses error, size, file, files, modelfiles,
 * content, header, stream, config, params, lora, maps, weights, tensors.
 *
 * After opening, all weights are in one block, in the order of the table params.h makes for the configuration, as float. In
 * a read-only model (dpo_model_open_frozen) matrices stay as stored, and what can stay in its file does.
 */
#ifndef DPO_MODEL_H
#define DPO_MODEL_H

#include "base/error.h"
#include "base/file.h"
#include "base/maps.h"
#include "decoder/lora.h"
#include "model/config.h"
#include "model/files.h"
#include "model/params.h"
#include "stream/header.h"

struct dpo_model {
	struct dpo_config config;
	struct dpo_params params;	/* names, shapes and offsets of every tensor in `weights` */
	float *weights;			/* owned; params.total floats, 64 byte aligned */
	struct dpo_maps maps;		/* owned; mapped files that tensors lie in (params.h); only from dpo_model_open_frozen */
	struct dpo_lora *lora;		/* owned; an adapter (adapter.h), or NULL: none */
	struct dpo_files files;
	cJSON *stages;			/* owned; the stream's chain, for a directory [] */
	char id[DPO_HEX_BYTES];		/* model id (below); with an adapter that was opened, of both */
	char tokenizer_id[DPO_HEX_BYTES];	/* "" if there is no tokenizer */
};

/*
 * Open the directory or model stream at path ("-" is standard input, a stream). Weights in F32, F16
 * or BF16 are converted to float exactly.
 *
 * The model id (identity.h) is over the tensors by name, as they are stored, and the configuration
 * keys that shape the mathematics; so a directory, its shards and a stream of the same tensors
 * agree.
 *
 * A missing or superfluous tensor or a wrong shape is DPO_FORMAT; another dtype, or a config key
 * that changes the mathematics and is not implemented, is DPO_UNSUPPORTED naming it; NaN or
 * infinity is DPO_NONFINITE. On error *model is {0}. Threads: hashing and conversion use up to
 * `threads`; the result does not depend on it.
 */
enum dpo_status dpo_model_open(struct dpo_model *model, const char *path, int threads,
	struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * As dpo_model_open, for a read-only model: matrices in F16 or BF16 stay so in memory (params says which), and log-probs
 * have the same bits; what is stored just as it is needed is mapped, so that programs share it. A file that shrinks while
 * the model is in use raises SIGBUS; dpo_weights_same (weights.h) says whether one was written to. Not for training all
 * weights, writing or identifying.
 */
enum dpo_status dpo_model_open_frozen(struct dpo_model *model, const char *path, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The model at path without its weights: files, configuration and table, as dpo_model_open or, with `frozen`,
 * dpo_model_open_frozen would lay them out; weights are NULL, the id is "". For a directory the headers of the weight files
 * are read and checked.
 */
enum dpo_status dpo_model_outline(struct dpo_model *model, const char *path, bool frozen, struct dpo_error *err) DPO_MUST_CHECK;
/* The same for what dpo_model_init makes. */
enum dpo_status dpo_model_init_outline(struct dpo_model *model, const char *config_path, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * A model with random weights from the config.json at path (tokenizer files beside it are included): matrices and
 * embeddings normal(0, initializer_range), norm weights 1, biases 0, keyed by (seed, tensor name).
 */
enum dpo_status dpo_model_init(struct dpo_model *model, const char *config_path, uint64_t seed,
	struct dpo_error *err)
	DPO_MUST_CHECK;

/* What training changes: all weights, or the adapter's tensors. The rest is only read. */
struct dpo_trained {
	const struct dpo_params *params;
	float *block;
};

struct dpo_trained dpo_model_trained(const struct dpo_model *model);

/* Recompute model->id after the weights or the adapter changed. */
enum dpo_status dpo_model_identify(struct dpo_model *model, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Write a model stream (kind "model") to out: header with `stages` (borrowed), the files, then all tensors in table order.
 * parent as in dpo_writer_end. On at most `threads` threads; the bytes do not depend on the number.
 */
enum dpo_status dpo_model_write(const struct dpo_model *model, const cJSON *stages,
	const uint8_t *parent, struct dpo_out *out, int threads, struct dpo_error *err) DPO_MUST_CHECK;

void dpo_model_free(struct dpo_model *model);

#endif
