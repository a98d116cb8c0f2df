/* Any bytes as a file of tensors, safetensors or PyTorch's: refused or read, and what is read lies within the file. */
#include "model/safetensors.h"
#include "model/torchfile.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum dpo_status add(struct dpo_safetensors *set, const char *path, struct dpo_error *err);

static void
read_as(add *reader, const char *path)
{
	struct dpo_safetensors set = { 0 };
	struct dpo_error err = { 0 };
	uint8_t byte;

	if (reader(&set, path, &err) == DPO_OK)
		for (size_t i = 0; i < set.n_entries; i++)
			if (set.entries[i].bytes > 0)
				assert(dpo_safetensors_read(&set, &set.entries[i], set.entries[i].bytes - 1, &byte, 1, &err) == DPO_OK);
	dpo_safetensors_close(&set);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *file = tmpfile();
	char path[64];

	assert(file && fwrite(data, 1, size, file) == size && fflush(file) == 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
	read_as(dpo_safetensors_add, path);
	read_as(dpo_torchfile_add, path);
	fclose(file);
	return 0;
}
