/*
 * hub - models by name in the cache of the Hugging Face hub. Layer 4; uses error, size, buffer, file.
 *
 * The cache is $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
 * $HOME/.cache/huggingface/hub; an empty variable counts as absent. In it a model ORG/NAME lies as
 *
 *	models--ORG--NAME/refs/REVISION			the commit a branch or tag stands for, as text
 *	models--ORG--NAME/snapshots/COMMIT/		the files, as symbolic links to ../../blobs
 */
#ifndef DPO_HUB_H
#define DPO_HUB_H

#include "base/error.h"

/*
 * Where a MODEL lies: *path is a copy of `name` if it is "-" or exists, else the snapshot of ORG/NAME (or NAME), of its
 * revision "main" or, with ORG/NAME@REVISION, of that branch, tag or commit. Not found: DPO_IO saying where it was looked
 * for. Caller frees *path; on error it is NULL.
 */
enum dpo_status dpo_hub_find(char **path, const char *name, struct dpo_error *err) DPO_MUST_CHECK;

#endif
