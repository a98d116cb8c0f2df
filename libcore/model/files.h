/*
 * files - the small files of a model: configuration and tokenizer, as bytes. Layer 4; uses error,
 * size, buffer, bytes, random, json, file, tokennames.
 *
 * They travel with a model stream unchanged, so that an export returns them byte for byte.
 */
#ifndef DPO_FILES_H
#define DPO_FILES_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"

#define DPO_FILES_LIMIT ((size_t)256 << 20)	/* bytes of one such file */

struct dpo_named_file {
	char *name;		/* owned; a single path component */
	uint8_t *bytes;		/* owned; n of them and a NUL */
	size_t n;
};

struct dpo_files {
	struct dpo_named_file *list;	/* owned, in the order of dpo_files_names */
	size_t count;
	size_t capacity;
};

/*
 * The names that are read from a directory, in order, NULL at the end: config.json first, then
 * tokenizer files.
 */
extern const char *const dpo_files_names[];

/* Read those that exist in the directory. On error files is {0}. */
enum dpo_status dpo_files_read(struct dpo_files *files, const char *directory,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Append n bytes under a name. A name that is not a single path component, or already in use, is DPO_FORMAT. */
enum dpo_status dpo_files_add(struct dpo_files *files, const char *name, const void *bytes,
	size_t n, struct dpo_error *err) DPO_MUST_CHECK;
/* The file of that name, or NULL. */
const struct dpo_named_file *dpo_files_find(const struct dpo_files *files, const char *name);
/* The tree of the file of that name, an object that the caller deletes; *tree is NULL if there is no such file, and on error. */
enum dpo_status dpo_files_tree(cJSON **tree, const struct dpo_files *files, const char *name, struct dpo_error *err) DPO_MUST_CHECK;
/*
 * The tokenizer id as hex, "" if there is no tokenizer: over what decides ids, in the order below, from t = 32 zero bytes:
 * t = H(t, H(name), u64 length, H(bytes)).
 *
 * First the files, those that are there: tokenizer.json; without it vocab.json and merges.txt, or tokenizer.model, and then
 * added_tokens.json; tokenizer_config.json; special_tokens_map.json. Then what config.json says of the tokenizer and neither of
 * these two does (tokennames.h, tokenclass.h), each under the name "config.json:KEY":
 *
 *	bos_token_id, eos_token_id	the number in decimal, of a list the first, if neither file names that token
 *	model_type			its text, where vocab.json decides ids and tokenizer_config.json has no tokenizer_class
 *
 * One of the three that is not JSON is DPO_FORMAT.
 */
enum dpo_status dpo_files_tokenizer_id(const struct dpo_files *files, char hex[2 * DPO_HASH_BYTES + 1], struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_files_free(struct dpo_files *files);

#endif
