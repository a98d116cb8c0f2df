/* Any bytes as a PyTorch file: refused or read, and what is read lies within the file. For libFuzzer; `make fuzz`. */
#include "model/torchfile.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dpo_safetensors set = { 0 };
	struct dpo_error err = { 0 };
	FILE *file = tmpfile();
	uint8_t byte;
	char path[64];

	assert(file && fwrite(data, 1, size, file) == size && fflush(file) == 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
	if (dpo_torchfile_add(&set, path, &err) == DPO_OK)
		for (size_t i = 0; i < set.n_entries; i++)
			if (set.entries[i].bytes > 0)
				assert(dpo_safetensors_read(&set, &set.entries[i], set.entries[i].bytes - 1, &byte, 1, &err) == DPO_OK);
	dpo_safetensors_close(&set);
	fclose(file);
	return 0;
}
