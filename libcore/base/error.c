#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum dpo_status
dpo_fail(struct dpo_error *err, enum dpo_status status, const char *format, ...)
{
	va_list args;

	if (err) {
		err->status = status;
		va_start(args, format);
		vsnprintf(err->text, sizeof err->text, format, args);
		va_end(args);
	}
	return status;
}

enum dpo_status
dpo_fail_errno(struct dpo_error *err, const char *format, ...)
{
	int number = errno;
	va_list args;
	size_t used;

	if (err) {
		err->status = DPO_IO;
		va_start(args, format);
		vsnprintf(err->text, sizeof err->text, format, args);
		va_end(args);
		used = strlen(err->text);
		snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(number));
	}
	return DPO_IO;
}

enum dpo_status
dpo_fail_memory(struct dpo_error *err)
{
	return dpo_fail(err, DPO_NOMEM, "out of memory");
}

enum dpo_status
dpo_error_prefix(struct dpo_error *err, const char *format, ...)
{
	char place[512], rest[sizeof err->text];
	va_list args;

	va_start(args, format);
	vsnprintf(place, sizeof place, format, args);
	va_end(args);
	memcpy(rest, err->text, sizeof rest);
	rest[sizeof rest - 1] = '\0';
	/* A text too long for its place is cut at the end; the place matters more. */
	if (snprintf(err->text, sizeof err->text, "%s: %.*s", place, (int)(sizeof rest - sizeof place - 3), rest) < 0)
		err->text[0] = '\0';
	return err->status;
}
