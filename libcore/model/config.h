/*
 * config - the configuration keys of a model that shape its mathematics. Layer 5; uses error, buffer, json, family, fields.
 *
 * The family's row says which keys a config.json may have. A key that would change the mathematics and is not implemented
 * is DPO_UNSUPPORTED naming it; dropout keys are read as 0.
 */
#ifndef DPO_CONFIG_H
#define DPO_CONFIG_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/family.h"

/* Read config.json's text. Sizes are bounded so that products of two fit well within size_t. */
enum dpo_status dpo_config_read(struct dpo_config *config, const char *text, size_t len,
	struct dpo_error *err)
	DPO_MUST_CHECK;

/* How many positions a row of the layer sees, its own among them; 0: all before it. */
size_t dpo_config_window(const struct dpo_config *config, size_t layer);

/*
 * Append the canonical text of what shapes the mathematics: one "key=value" per line, in fixed order. It is part of the
 * model id.
 */
void dpo_config_canonical(const struct dpo_config *config, struct dpo_buffer *out);

#endif
