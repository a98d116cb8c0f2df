/*
 * report - numbers by name, printed as text, JSON or TSV, and what is required of them. Used by dpo-eval.
 */
#ifndef REPORT_H
#define REPORT_H

#include "base/buffer.h"
#include "cli.h"

/* {0} before report_begin. */
struct report {
	struct dpo_buffer text;
	const char *format;
	size_t lines;
	struct requirement *requirements;	/* owned; n_requirements */
	size_t n_requirements;
};

extern const char *const report_formats[];	/* "text", "json", "tsv" */

/* A requirement is NAME>=X, NAME<=X, NAME>X or NAME<X; anything else is a usage error. */
void report_begin(struct report *report, const char *format, const struct cli_list *requirements);

/*
 * Append a number; one that is not finite is left out, and meets no requirement. `exact`: a count. Others, and the bounds that are
 * required of them, are taken with float's precision. The name is UTF-8; JSON escapes what a string may not hold, the other
 * formats what would break a line, and a requirement names it unescaped.
 */
void report_put(struct report *report, const char *name, double value, bool exact);

/*
 * Write the report to the output. Returns 0, or 5 if requirements are not met, naming each on standard error; one with a name
 * that was never put is a usage error, after the report.
 */
int report_write(struct report *report, const char *output);

#endif
