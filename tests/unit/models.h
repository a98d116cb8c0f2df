/*
 * models - small models for the tests of model, weights and their files, in the directory of the test (fixture_here). What
 * fails to be made is an assertion of cmocka.
 */
#ifndef MODELS_H
#define MODELS_H

#include "decoder/model.h"
#include "export/safewrite.h"

#define MODELS_GPT2 "{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_positions\":16}"
/* The embedding is larger than a leaf and than a record. */
#define MODELS_LLAMA "{\"model_type\":\"llama\",\"vocab_size\":70001,\"hidden_size\":16,\"intermediate_size\":12," \
	"\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"tie_word_embeddings\":true}"

/* A model with random weights and a small tokenizer file. */
void models_make(struct dpo_model *model, const char *config);
/* An empty directory of that name with the model's config.json; its path into path. */
void models_make_directory(char path[512], const char *name, const struct dpo_model *model);

/* The items of a safetensors file to come: a model's tensors [from, to), then extras of the test. */
extern struct dpo_safetensors_item models_items[64];
extern size_t models_n_items;

void models_take_items(const struct dpo_model *model, size_t from, size_t to);
/* Write them to the file of that name in the directory `at`. */
void models_put_items(const char *at, const char *name);
/* Two shards whose cut and order are not the table's. */
void models_put_shards(const struct dpo_model *model, const char *at);
void models_put_stream(const struct dpo_model *model, const char *path);

/* Open a model that is good; fail to open one, with that status and words, and its path first, in the error. */
void models_open_good(struct dpo_model *model, const char *path, int threads);
void models_open_bad(const char *path, enum dpo_status status, const char *words);
/* The same id, configuration and weights, bit for bit. */
void models_check_same(const struct dpo_model *a, const struct dpo_model *b);

#endif
