#include "model/stored.h"

#include "base/size.h"
#include "model/identity.h"

#include <stdlib.h>
#include <string.h>

const char *
dpo_stored_file(const struct dpo_safetensors *set, const struct dpo_safetensors_entry *entry)
{
	return set->shards[entry->shard].path;
}

/* ------------------------------------------------------------------ names in files */

/* The entry of that name, or of the name without the base model's prefix. */
static const struct dpo_safetensors_entry *
find_entry(const struct dpo_safetensors *set, const struct dpo_config *config, const char *name)
{
	const struct dpo_safetensors_entry *entry = dpo_safetensors_find(set, name);
	size_t n = strlen(config->family->prefix);

	if (!entry && strncmp(name, config->family->prefix, n) == 0)
		entry = dpo_safetensors_find(set, name + n);
	return entry;
}

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

/* Buffers, not parameters: what they hold follows from the configuration. */
static bool
is_buffer(const struct dpo_config *config, const char *name)
{
	const char *const *ends = config->family->buffers;
	size_t n = sizeof config->family->buffers / sizeof *ends;

	for (size_t i = 0; i < n && ends[i]; i++)
		if (ends_with(name, ends[i]))
			return true;
	return false;
}

static bool
is_head(const struct dpo_config *config, const char *name)
{
	size_t n = strlen(config->family->names.head);

	return strncmp(name, config->family->names.head, n) == 0 && strcmp(name + n, ".weight") == 0;
}

/* The copy of a tied head holds the bytes of the embedding. */
static enum dpo_status
check_head_copy(const struct dpo_safetensors *set, const struct dpo_safetensors_entry *head,
    const struct dpo_safetensors_entry *embedding, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	uint8_t *bytes;
	bool equal = strcmp(head->dtype_name, embedding->dtype_name) == 0 &&
	    head->bytes == embedding->bytes;

	if (!(bytes = dpo_alloc(2, DPO_LEAF_BYTES)))
		return dpo_fail_memory(err);
	for (size_t at = 0; equal && status == DPO_OK && at < head->bytes; at += DPO_LEAF_BYTES) {
		size_t n = head->bytes - at < DPO_LEAF_BYTES ? head->bytes - at : DPO_LEAF_BYTES;

		if ((status = dpo_safetensors_read(set, head, at, bytes, n, err)) == DPO_OK)
			status = dpo_safetensors_read(set, embedding, at, bytes + DPO_LEAF_BYTES, n,
			    err);
		equal = status != DPO_OK || memcmp(bytes, bytes + DPO_LEAF_BYTES, n) == 0;
	}
	free(bytes);
	return equal ? status : dpo_fail(err, DPO_FORMAT,
	    "%s: tensor \"%s\" differs from the embedding, though the configuration ties them",
	    dpo_stored_file(set, head), head->name);
}

/* ------------------------------------------------------------------ the table against the files */

static enum dpo_status
check_entry(const struct dpo_safetensors *set, const struct dpo_tensor *tensor,
    const struct dpo_safetensors_entry *entry, struct dpo_error *err)
{
	bool same = entry->rank == tensor->rank;

	for (size_t d = 0; same && d < tensor->rank; d++)
		same = entry->shape[d] == tensor->shape[d];
	if (!same)
		return dpo_fail(err, DPO_FORMAT,
		    "%s: tensor \"%s\" has %zu dimensions of %zu, %zu; config.json gives %zu of "
		    "%zu, %zu", dpo_stored_file(set, entry), tensor->name, entry->rank, entry->shape[0],
		    entry->shape[1], tensor->rank, tensor->shape[0], tensor->shape[1]);
	if (entry->dtype == DPO_DTYPE_OTHER)
		return dpo_fail(err, DPO_UNSUPPORTED,
		    "%s: tensor \"%s\": dtype %s is not supported", dpo_stored_file(set, entry),
		    tensor->name, entry->dtype_name);
	return DPO_OK;
}

/* What the file holds beyond the table: buffers and the copy of a tied head, nothing else. */
static enum dpo_status
check_rest(const struct dpo_safetensors_entry *const *entries, const struct dpo_safetensors *set,
    const struct dpo_config *config, const struct dpo_params *params, struct dpo_error *err)
{
	bool *used = dpo_alloc(set->n_entries, sizeof *used);
	enum dpo_status status = DPO_OK;

	if (!used)
		return dpo_fail_memory(err);
	for (size_t t = 0; t < params->count; t++)
		used[entries[t] - set->entries] = true;
	for (size_t i = 0; i < set->n_entries && status == DPO_OK; i++) {
		const struct dpo_safetensors_entry *entry = &set->entries[i];

		if (used[i] || is_buffer(config, entry->name))
			continue;
		if (config->tied_head && is_head(config, entry->name))
			status = check_head_copy(set, entry, entries[0], err);
		else
			status = dpo_fail(err, DPO_FORMAT, "%s: tensor \"%.100s\" is superfluous",
			    dpo_stored_file(set, entry), entry->name);
	}
	free(used);
	return status;
}

enum dpo_status
dpo_stored_match(const struct dpo_safetensors_entry **entries, const struct dpo_safetensors *set,
    const struct dpo_config *config, const struct dpo_params *params, const char *directory, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t t = 0; t < params->count && status == DPO_OK; t++) {
		const struct dpo_tensor *tensor = &params->list[t];

		entries[t] = find_entry(set, config, tensor->name);
		status = entries[t] ? check_entry(set, tensor, entries[t], err) :
		    dpo_fail(err, DPO_FORMAT, "%s: tensor \"%s\" is missing", directory,
		    tensor->name);
	}
	return status != DPO_OK ? status : check_rest(entries, set, config, params, err);
}
