/* options - the option table of cli.h at work: parsing, --help, --version. */
#include "cli.h"
#include "cli_private.h"
#include "base/buffer.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "base/version.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"
#include "stream/header.h"

#include <cblas.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { FIRST_LONG = 256, OPTIONS_MAX = 128 };

/* The program's table, and which of its rows the command line has. */
static const struct cli_program *parsed;
static bool given[OPTIONS_MAX];

static bool
takes_argument(const struct cli_option *option)
{
	return option->kind != CLI_FLAG && option->kind != CLI_HELP && option->kind != CLI_VERSION;
}

/* ------------------------------------------------------------------ help */

void
cli_print_usage(const struct cli_program *program, FILE *to)
{
	fprintf(to, "usage: %s [OPTION...]%s%s\n", program->name, *program->operands ? " " : "", program->operands);
}

/* Powers of 1000 without "B" too, so that 5G is 5GB. */
static const struct { const char *name; int64_t bytes; } units[] = {
	{ "GB", 1000000000 }, { "MB", 1000000 }, { "KB", 1000 }, { "kB", 1000 }, { "G", 1000000000 }, { "M", 1000000 },
	{ "k", 1000 }, { "K", 1000 }, { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "", 1 },
};

static void
print_bytes(int64_t bytes)
{
	size_t i = 0;

	while (units[i].bytes > 1 && (bytes == 0 || bytes % units[i].bytes != 0))
		i++;
	if (bytes)
		printf(" [%lld%s]", (long long)(bytes / units[i].bytes), units[i].bytes > 1 ? units[i].name : "");
}

static void
print_default(const struct cli_option *option, const void *field)
{
	switch (option->kind) {
	case CLI_INTEGER:
		printf(" [%lld]", (long long)*(const int64_t *)field);
		break;
	case CLI_BYTES:
		print_bytes(*(const int64_t *)field);
		break;
	case CLI_NUMBER:
		if (!isnan(*(const double *)field))
			printf(" [%g]", *(const double *)field);
		break;
	case CLI_TEXT:
	case CLI_CHOICE:
		if (*(const char *const *)field)
			printf(" [%s]", *(const char *const *)field);
		break;
	default:
		break;
	}
}

static void
print_help(const struct cli_program *program, const void *options)
{
	char left[64];

	printf("%s - %s\n", program->name, program->summary);
	cli_print_usage(program, stdout);
	if (program->example)
		printf("example: %s\n", program->example);
	for (size_t i = 0; i < program->n_options; i++) {
		const struct cli_option *option = &program->options[i];
		char letter[4] = { '-', option->letter, ',', '\0' };

		snprintf(left, sizeof left, "%s --%s%s%s", option->letter ? letter : "   ", option->name,
		    option->argument ? " " : "", option->argument ? option->argument : "");
		printf("  %-32s %s", left, option->help);
		for (size_t k = 0; option->choices && option->choices[k]; k++)
			printf("%s%s", k ? ", " : ": ", option->choices[k]);
		print_default(option, (const char *)options + option->offset);
		putchar('\n');
	}
}

static void
print_version(const struct cli_program *program)
{
	printf("%s %s, stream format %d\n", program->name, DPO_VERSION_TEXT, DPO_FORMAT_VERSION);
	printf("%s, kernel %s, bf16 %s; cJSON %s; zstd %s; libsodium %s\n", openblas_get_config(), dpo_gemm_kernel(),
	    dpo_bf16_kernel() ? dpo_bf16_kernel() : "none", cJSON_Version(), ZSTD_versionString(), sodium_version_string());
#ifdef __VERSION__
	printf("compiler %s\n", __VERSION__);
#endif
}

/* ------------------------------------------------------------------ values */

static void
parse_integer(const struct cli_option *option, const char *text, int64_t *field)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end == text || *end || errno)
		cli_usage("--%s: \"%s\" is not an integer", option->name, text);
	if ((double)value < option->low || (double)value > option->high)
		cli_usage("--%s: %s is not within %.0f and %.0f", option->name, text, option->low, option->high);
	*field = value;
}

static void
parse_bytes(const struct cli_option *option, const char *text, int64_t *field)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof units / sizeof *units && end != text && !errno; i++)
		if (strcmp(units[i].name, end) == 0 && !__builtin_mul_overflow(value, units[i].bytes, field) &&
		    (double)*field >= option->low && (double)*field <= option->high)
			return;
	cli_usage("--%s: \"%s\" is not a size such as 5GB, at least %.0f", option->name, text, option->low);
}

static void
parse_number(const struct cli_option *option, const char *text, double *field)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value))
		cli_usage("--%s: \"%s\" is not a number", option->name, text);
	if (value < option->low || value > option->high)
		cli_usage("--%s: %s is not within %g and %g", option->name, text, option->low, option->high);
	*field = value;
}

static const char *
parse_choice(const struct cli_option *option, const char *text)
{
	struct dpo_buffer names = { 0 };

	for (size_t i = 0; option->choices[i]; i++) {
		if (strcmp(option->choices[i], text) == 0) {
			dpo_buffer_free(&names);
			return option->choices[i];
		}
		dpo_buffer_printf(&names, "%s%s", i ? ", " : "", option->choices[i]);
	}
	cli_usage("--%s: \"%s\" is not one of: %s", option->name, text, dpo_buffer_text(&names));
}

static void
append(struct cli_list *list, const char *text)
{
	const char **items = realloc(list->items, (list->count + 1) * sizeof *items);

	if (!items)
		cli_out_of_memory();
	items[list->count++] = text;
	list->items = items;
}

static void
set(const struct cli_program *program, const struct cli_option *option, void *options, const char *text)
{
	void *field = (char *)options + option->offset;

	switch (option->kind) {
	case CLI_FLAG:
		*(bool *)field = true;
		break;
	case CLI_TEXT:
		*(const char **)field = text;
		break;
	case CLI_INTEGER:
		parse_integer(option, text, field);
		break;
	case CLI_BYTES:
		parse_bytes(option, text, field);
		break;
	case CLI_NUMBER:
		parse_number(option, text, field);
		break;
	case CLI_CHOICE:
		*(const char **)field = parse_choice(option, text);
		break;
	case CLI_LIST:
		append(field, text);
		break;
	case CLI_HELP:
		print_help(program, options);
		exit(cli_finish(0));
	case CLI_VERSION:
		print_version(program);
		exit(cli_finish(0));
	}
}

/* ------------------------------------------------------------------ parsing */

/* getopt_long's two tables from ours. */
static void
make_tables(const struct cli_program *program, struct option *longs, char *shorts)
{
	for (size_t i = 0; i < program->n_options; i++) {
		const struct cli_option *option = &program->options[i];

		longs[i] = (struct option){ option->name, takes_argument(option) ? required_argument : no_argument,
			NULL, FIRST_LONG + (int)i };
		if (option->letter) {
			*shorts++ = option->letter;
			if (takes_argument(option))
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
}

static const struct cli_option *
by_code(const struct cli_program *program, int code)
{
	if (code >= FIRST_LONG)
		return &program->options[code - FIRST_LONG];
	for (size_t i = 0; i < program->n_options; i++)
		if (program->options[i].letter == code)
			return &program->options[i];
	return NULL;
}

bool
cli_given(const char *name)
{
	for (size_t i = 0; i < parsed->n_options; i++)
		if (strcmp(parsed->options[i].name, name) == 0)
			return given[i];
	return false;
}

size_t
cli_parse(const struct cli_program *program, void *options, int argc, char **argv, char ***operands)
{
	struct cli_common *common = options;
	struct option longs[OPTIONS_MAX] = { 0 };
	char shorts[256];
	size_t count;
	int code;

	cli_start(program);
	parsed = program;
	if (sodium_init() < 0)
		cli_usage("libsodium does not start");
	if (dpo_wish_said() == DPO_WISHES)
		cli_usage("DPO_KERNEL: \"%s\" is not one of: %s", getenv("DPO_KERNEL"), DPO_WISH_NAMES);
	make_tables(program, longs, shorts);
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct cli_option *option = by_code(program, code);

		if (!option) {
			cli_print_usage(program, stderr);
			exit(2);
		}
		given[option - program->options] = true;
		set(program, option, options, optarg);
	}
	count = (size_t)(argc - optind);
	*operands = argv + optind;
	if (count > program->max_operands)
		cli_usage("%s: unexpected operand", argv[optind + (int)program->max_operands]);
	if (common->threads == 0)
		common->threads = dpo_parallel_available();
	if (common->threads > 1)
		cli_wait_passively(argv);
	cli_set_loudness(common->quiet, common->verbose);
	return count;
}

void
cli_refuse_idle(const struct cli_use *list, unsigned uses, const char *option, const char *choice)
{
	for (; list->name; list++)
		if (!(list->bit & uses) && cli_given(list->name))
			cli_usage("--%s has no effect with --%s%s%s", list->name, option, choice ? " " : "", choice ? choice : "");
}

void
cli_one_mode(const struct cli_mode *modes, const char *names, const struct cli_use *list)
{
	const struct cli_mode *on = NULL;

	for (; modes->flag; modes++)
		if (modes->on && on)
			cli_usage("%s exclude each other", names);
		else if (modes->on)
			on = modes;
	if (on)
		cli_refuse_idle(list, on->bit, on->flag, NULL);
}
