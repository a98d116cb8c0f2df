/*
 * export - a model as a Hugging Face directory or a bare safetensors file, an adapter as a directory of peft. Layer 11;
 * uses error, size, bytes, dtype, json, jsonedit, file, files, safewrite, adapter, model.
 *
 * The directory is built next to its destination under a temporary name, every file and the directory synced, and then
 * renamed: it appears whole or not at all.
 *
 *	if ((status = dpo_export_begin(&export, model, form, path, false, err)) == DPO_OK &&
 *	    (status = dpo_export_write(&export, err)) == DPO_OK)
 *		status = dpo_export_commit(&export, err);
 *	dpo_export_free(&export);
 */
#ifndef DPO_EXPORT_H
#define DPO_EXPORT_H

#include "base/error.h"
#include "base/file.h"
#include "decoder/model.h"

/* How a directory's weights are stored. */
struct dpo_export_form {
	enum dpo_dtype dtype;		/* F32, F16 or BF16 (narrow.h) */
	bool told;			/* config.json, if it names the type of the weights, names this one */
	bool adapter;			/* the model's adapter instead, in peft's layout; in one file */
	size_t shard_bytes;		/* the most data in one file, unless a single tensor has more; 0: no limit */
};

struct dpo_export {
	struct dpo_export_form form;
	const struct dpo_params *params;	/* borrowed; the tensors to write, and their block */
	const float *block;
	const struct dpo_files *files;	/* borrowed; the model's, or: */
	struct dpo_files own;		/* owned; an adapter's */
	size_t *shards;			/* owned; the first tensor of each file, then the number of tensors */
	size_t n_shards;
	char *path;			/* owned; the directory to be */
	char *parent;			/* owned; the directory it lies in */
	char *temp;			/* owned; where it is built */
	char **paths;			/* owned; every file that may be in temp */
	size_t n_paths, paths_capacity;
	bool replace;			/* path exists and will be swapped */
};

/* Write all tensors as one safetensors file, in table order. */
enum dpo_status dpo_export_safetensors(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out,
	struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Check the destination of a directory: path must not exist, its parent must. With `force` path may be a directory that
 * holds only files an export of that kind writes: anything else is never deleted. Otherwise DPO_USAGE. Needs no model, so
 * that it can be called before one is read.
 */
enum dpo_status dpo_export_place(const char *path, bool adapter, bool force, struct dpo_error *err) DPO_MUST_CHECK;
/* Check the destination again and make the names; nothing is created yet. */
enum dpo_status dpo_export_begin(struct dpo_export *export, const struct dpo_model *model,
	struct dpo_export_form form, const char *path, bool force, struct dpo_error *err) DPO_MUST_CHECK;
/*
 * Write the weights (model.safetensors, or where that is too large model-00001-of-0000N.safetensors and so on with their
 * index) and the model's files, byte for byte except as form.told says, or the adapter's two, into the temporary directory,
 * and sync them.
 */
enum dpo_status dpo_export_write(struct dpo_export *export, struct dpo_error *err) DPO_MUST_CHECK;
/*
 * Rename it into its place and sync the parent; then what was there before is removed. If the sync fails that is back in its place.
 * A signal handler must not call dpo_export_remove meanwhile.
 */
enum dpo_status dpo_export_commit(struct dpo_export *export, struct dpo_error *err) DPO_MUST_CHECK;
/* Remove the temporary directory and what may be in it. Uses only unlink() and rmdir(), so a signal handler may call it. */
void dpo_export_remove(const struct dpo_export *export);
/* dpo_export_remove and release; the export is {0} again. */
void dpo_export_free(struct dpo_export *export);

#endif
