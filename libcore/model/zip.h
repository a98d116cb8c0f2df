/*
 * zip - finds the members of a zip archive, all of them stored. Layer 4; uses error, size, bytes, table, file.
 *
 * Only what PyTorch writes (PKWARE's APPNOTE, sections 4.3 and 4.5.3): members that are stored, neither compressed nor
 * encrypted, on one disk, with 64-bit sizes where needed. Anything else is refused: nothing is ever unpacked. Members may not
 * overlap.
 */
#ifndef DPO_ZIP_H
#define DPO_ZIP_H

#include "base/error.h"
#include "base/table.h"

enum { DPO_ZIP_NAME = 255 };	/* bytes of a member's name */

struct dpo_zip_member {
	size_t at, bytes;	/* its data in the file */
	size_t header;		/* where its local header begins */
};

struct dpo_zip {
	struct dpo_zip_member *members;	/* owned; in the directory's order */
	size_t n_members, capacity;
	struct dpo_table names;		/* name -> index into members */
	char first[DPO_ZIP_NAME + 1];	/* the first member's name */
};

/* Read the directory of the archive fd of `size` bytes. On error *zip is {0}. */
enum dpo_status dpo_zip_open(struct dpo_zip *zip, int fd, size_t size, struct dpo_error *err) DPO_MUST_CHECK;
/* The member of that name, or NULL. */
const struct dpo_zip_member *dpo_zip_find(const struct dpo_zip *zip, const char *name);
void dpo_zip_close(struct dpo_zip *zip);

#endif
