#include "report.h"

#include "base/json.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct requirement {
	char *name;		/* owned */
	const char *text;	/* as given */
	bool less, equal;	/* of > >= < <= */
	double bound;
	bool seen, met;
	double value;
};

const char *const report_formats[] = { "text", "json", "tsv", NULL };

static struct requirement
parse(const char *text)
{
	size_t n = strcspn(text, "<>");
	struct requirement r = { .text = text, .name = dpo_size_copy(text, n), .less = text[n] == '<' };
	struct dpo_error err;
	const char *number;
	char *end;

	if (!r.name)
		cli_check(dpo_fail_memory(&err), &err);
	if (n == 0 || !text[n])
		cli_usage("--require: \"%s\" is not NAME>=X, NAME<=X, NAME>X or NAME<X", text);
	r.equal = text[n + 1] == '=';
	number = text + n + 1 + r.equal;
	r.bound = strtod(number, &end);
	if (end == number || *end || !isfinite(r.bound))
		cli_usage("--require: \"%s\" in \"%s\" is not a number", number, text);
	return r;
}

void
report_begin(struct report *report, const char *format, const struct cli_list *requirements)
{
	struct dpo_error err;

	report->format = format;
	report->n_requirements = requirements->count;
	if (!(report->requirements = dpo_alloc(requirements->count, sizeof *report->requirements)))
		cli_check(dpo_fail_memory(&err), &err);
	for (size_t i = 0; i < requirements->count; i++)
		report->requirements[i] = parse(requirements->items[i]);
}

/* A bound has the precision of its number: 7 of 10 as a float is below 0.7 as a double, and meets >=0.7. */
static void
judge(struct report *report, const char *name, double value, bool exact)
{
	for (size_t i = 0; i < report->n_requirements; i++) {
		struct requirement *r = &report->requirements[i];
		double bound = exact ? r->bound : (double)(float)r->bound;

		if (strcmp(r->name, name) != 0)
			continue;
		r->seen = true;
		r->value = value;
		r->met = isfinite(value) && ((r->less ? value < bound : value > bound) || (r->equal && value - bound == 0));
	}
}

/* Part of a name may be the rows' text (--slice), which must break neither string nor line. */
static void
put_name(struct dpo_buffer *text, const char *format, const char *name)
{
	struct dpo_buffer whole = { 0 };

	if (strcmp(format, "json") == 0) {
		dpo_buffer_printf(&whole, "eval_%s", name);
		dpo_json_put_string(text, dpo_buffer_text(&whole), whole.len);
	} else {
		dpo_buffer_visible(&whole, name, strlen(name), "\\");
		dpo_buffer_printf(text, strcmp(format, "tsv") == 0 ? "eval_%s" : "%-32s", dpo_buffer_text(&whole));
	}
	text->failed |= whole.failed;
	dpo_buffer_free(&whole);
}

void
report_put(struct report *report, const char *name, double value, bool exact)
{
	struct dpo_buffer *text = &report->text;
	bool json = strcmp(report->format, "json") == 0;

	if (!exact)
		value = (double)(float)value;
	judge(report, name, value, exact);
	if (!isfinite(value))
		return;
	if (json)
		dpo_buffer_byte(text, report->lines++ ? ',' : '{');
	put_name(text, report->format, name);
	if (strcmp(report->format, "text") == 0) {
		dpo_buffer_printf(text, exact ? " %.0f\n" : " %.6g\n", value);
		return;
	}
	dpo_buffer_byte(text, json ? ':' : '\t');
	dpo_json_put_number(text, value);
	if (!json)
		dpo_buffer_byte(text, '\n');
}

/* A name that nothing here has is a mistake in the call; by then the report is there. */
static int
check_requirements(struct report *report)
{
	const struct requirement *unknown = NULL;
	int code = 0;

	for (size_t i = 0; i < report->n_requirements; i++) {
		const struct requirement *r = &report->requirements[i];

		if (!r->seen)
			unknown = r;
		else if (!r->met && isnan(r->value))
			cli_warn("not met: %s, it is not defined", r->text);
		else if (!r->met)
			cli_warn("not met: %s, it is %.6g", r->text, r->value);
		if (!r->met)
			code = 5;
	}
	if (unknown)
		cli_usage("--require: there is no \"%s\" in this report", unknown->name);
	for (size_t i = 0; i < report->n_requirements; i++)
		free(report->requirements[i].name);
	free(report->requirements);
	return code;
}

int
report_write(struct report *report, const char *output)
{
	struct dpo_error err;
	struct dpo_out out;

	if (strcmp(report->format, "json") == 0)
		dpo_buffer_string(&report->text, report->lines ? "}\n" : "{}\n");
	if (report->text.failed)
		cli_check(dpo_fail_memory(&err), &err);
	cli_output(&out, output, false);
	cli_check(dpo_out_write(&out, report->text.data, report->text.len, &err), &err);
	cli_commit(&out);
	dpo_buffer_free(&report->text);
	return check_requirements(report);
}
