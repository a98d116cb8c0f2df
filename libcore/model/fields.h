/*
 * fields - the keys of a JSON object into the fields of a configuration. Layer 4; uses error, json,
 * family.
 */
#ifndef DPO_FIELDS_H
#define DPO_FIELDS_H

#include "base/error.h"
#include "base/json.h"
#include "model/family.h"

/* Sizes in a config.json are at most this, so that products of two fit well within size_t. */
#define DPO_SIZE_LIMIT ((size_t)1 << 24)

/*
 * Every key of the object that has a value must be in one of the n tables, with the value demanded there; otherwise
 * DPO_UNSUPPORTED naming it.
 */
enum dpo_status dpo_fields_check(const cJSON *object, const struct dpo_key *const *tables, size_t n,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Read the keys of the tables, in their order, into config. An absent key leaves its field as it is. A required key that is
 * absent, or a wrong type or range, is DPO_FORMAT naming the key; an activation that is not implemented is DPO_UNSUPPORTED.
 */
enum dpo_status dpo_fields_read(struct dpo_config *config, const cJSON *object,
	const struct dpo_key *const *tables, size_t n, struct dpo_error *err) DPO_MUST_CHECK;

#endif
