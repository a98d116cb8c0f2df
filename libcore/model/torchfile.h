/*
 * torchfile - the tensors of a PyTorch state dict (pytorch_model.bin), without PyTorch. Layer 5; uses error, size, bytes,
 * table, dtype, file, pickle, zip, safetensors.
 *
 * Both forms of torch.save: the zip archive (PyTorch 1.6 and later: NAME/data.pkl, and each storage as the member
 * NAME/data/KEY) and the older sequence of pickles (magic number, protocol 1001, system, the state dict, the storage keys,
 * then each storage as its length and its numbers). The dict must map names to tensors; nothing in it is executed
 * (pickle.h). Each tensor must be contiguous and lie within its storage; tensors may share one.
 */
#ifndef DPO_TORCHFILE_H
#define DPO_TORCHFILE_H

#include "base/error.h"
#include "model/safetensors.h"

/*
 * Add the tensors of the file at path to the set, as its next shard, like dpo_safetensors_add. Another kind of file, or an
 * opcode, global or value that no state dict needs, is DPO_UNSUPPORTED naming it.
 */
enum dpo_status dpo_torchfile_add(struct dpo_safetensors *set, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

#endif
