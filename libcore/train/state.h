/*
 * state - numbers that a checkpoint's state.json carries exactly: counters as JSON numbers, floating point as
 * hexadecimal text. Layer 3; uses error, buffer, json.
 */
#ifndef DPO_STATE_H
#define DPO_STATE_H

#include "base/buffer.h"
#include "base/error.h"

#include <cjson/cJSON.h>

#include <stddef.h>
#include <stdint.h>

/* Append "KEY":"HEX", and "KEY":["HEX",...] of n numbers. */
void dpo_state_put(struct dpo_buffer *out, const char *key, double value);
void dpo_state_put_list(struct dpo_buffer *out, const char *key, const double *values, size_t n);

/* The same read back; DPO_FORMAT for anything else. A counter is within [0, limit]. */
enum dpo_status dpo_state_number(double *value, const cJSON *object, const char *key, struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_state_list(double *values, size_t n, const cJSON *object, const char *key, struct dpo_error *err)
	DPO_MUST_CHECK;
enum dpo_status dpo_state_counter(uint64_t *value, const cJSON *object, const char *key, uint64_t limit,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
