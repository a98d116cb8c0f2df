/*
 * cli - what programs share, which alone print and exit: options from one table, messages, input and output, progress, signals.
 *
 * A program is a struct cli_program with a table of options. The table gives parsing with ranges, --help with the true
 * defaults (those in the caller's options struct before parsing) and the test of the man page. Every options struct begins
 * with a struct cli_common, and every table with CLI_COMMON.
 *
 *	struct options { struct cli_common common; double beta; };
 *	static const struct cli_option table[] = {
 *		CLI_COMMON(struct options),
 *		{ "beta", 0, CLI_NUMBER, offsetof(struct options, beta), "B", "strength of the pull to the reference",
 *		    .low = 0, .high = 1e6 },
 *	};
 *
 * Messages are one line, "program: place: fact". Exit codes: 0 done, 1 failure, 2 usage, 3 bad input, 4 input that does
 * not belong here, 5 a requirement not met, 75 stopped after a checkpoint.
 */
#ifndef CLI_H
#define CLI_H

#include "base/error.h"
#include "base/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_kind {
	CLI_FLAG,	/* bool */
	CLI_TEXT,	/* const char *, NULL when absent */
	CLI_INTEGER,	/* int64_t in [low, high] */
	CLI_BYTES,	/* int64_t: an integer, perhaps with k, M, G, KB, MB, GB (powers of 1000) or KiB, MiB, GiB (of 1024) */
	CLI_NUMBER,	/* double in [low, high], finite; a default of NaN is none */
	CLI_CHOICE,	/* const char *, one of `choices` */
	CLI_LIST,	/* struct cli_list: the option may be given several times */
	CLI_HELP, CLI_VERSION,
};

struct cli_list {
	const char **items;	/* owned by cli until exit */
	size_t count;
};

struct cli_option {
	const char *name;	/* long name without dashes */
	char letter;		/* short form, or 0 */
	enum cli_kind kind;
	size_t offset;		/* of the field in the options struct */
	const char *argument;	/* its name in --help; NULL for flags */
	const char *help;	/* one line */
	double low, high;	/* range of numbers, inclusive */
	const char *const *choices;	/* NULL-terminated */
};

struct cli_common {
	const char *output;	/* -o; NULL is standard output */
	int64_t threads;	/* -j; after parsing at least 1 */
	bool quiet, verbose;
};

#define CLI_COMMON(type) \
	{ "output", 'o', CLI_TEXT, offsetof(type, common.output), "FILE", \
	    "write to FILE instead of standard output", 0, 0, NULL }, \
	{ "threads", 'j', CLI_INTEGER, offsetof(type, common.threads), "N", \
	    "threads; 0: all this process may use", 0, 1024, NULL }, \
	{ "quiet", 'q', CLI_FLAG, offsetof(type, common.quiet), NULL, \
	    "no progress and no notes, only warnings and errors", 0, 0, NULL }, \
	{ "verbose", 'v', CLI_FLAG, offsetof(type, common.verbose), NULL, \
	    "say more on standard error, where there is more to say", 0, 0, NULL }, \
	{ "help", 'h', CLI_HELP, 0, NULL, "print this help", 0, 0, NULL }, \
	{ "version", 'V', CLI_VERSION, 0, NULL, "print versions of program, format and libraries", 0, 0, NULL }

struct cli_program {
	const char *name;	/* "dpo-tok" */
	const char *summary;	/* one line */
	const char *operands;	/* "[FILE]" */
	size_t max_operands;
	const struct cli_option *options;
	size_t n_options;
	const char *example;	/* one line for --help */
};

/*
 * Parse argv into *options (its struct already holds the defaults). Returns the number of operands, at *operands (borrowed
 * from argv). --help and --version print and exit 0; a usage error, and a DPO_KERNEL that nobody knows, prints one line and
 * the usage and exits 2. Also sets up signals and descriptors 0 to 2; call it first.
 */
size_t cli_parse(const struct cli_program *program, void *options, int argc, char **argv, char ***operands);

/* Whether the option of that long name was given, after cli_parse. */
bool cli_given(const char *name);

/*
 * Options that act only with some choices of another one. Each that was given although none of its `bit` is in `uses` is a
 * usage error: "--power has no effect with --lr-scheduler-type linear". name NULL ends the list; choice NULL: a flag has none.
 */
struct cli_use {
	const char *name;
	unsigned bit;
};
void cli_refuse_idle(const struct cli_use *list, unsigned uses, const char *option, const char *choice);

/*
 * Ways to run a program, each asked for by a flag, of which one at most: `names` says them all in the message. With one, options
 * of the list that do not act in it are refused: "--limit has no effect with --check". flag NULL ends the modes.
 */
struct cli_mode {
	const char *flag;
	bool on;
	unsigned bit;
};
void cli_one_mode(const struct cli_mode *modes, const char *names, const struct cli_use *list);

/* ------------------------------------------------------------------ ending */

/* Print "program: err->text", remove unfinished output, and exit with the code of err's status. */
_Noreturn void cli_fail(const struct dpo_error *err);
/* Print it as cli_fail does, and go on: for inputs looked at one by one. What exit code it comes to is cli_code. */
void cli_complain(const struct dpo_error *err);
int cli_code(enum dpo_status status);
/* As cli_fail, with `place` put before the text. */
_Noreturn void cli_fail_at(struct dpo_error *err, const char *place);
/* Print one line and the usage line, exit 2. */
_Noreturn void cli_usage(const char *format, ...) DPO_PRINTF(1, 2);
/* if (status) cli_fail: for calls whose text is already complete. */
void cli_check(enum dpo_status status, const struct dpo_error *err);
/* Flush and check standard output; returns `code`, or 1 with a message. Last call of main. */
int cli_finish(int code);

/* ------------------------------------------------------------------ messages on standard error */

void cli_warn(const char *format, ...) DPO_PRINTF(1, 2);	/* "program: warning: ..."; always */
void cli_note(const char *format, ...) DPO_PRINTF(1, 2);	/* "program: ..."; not with -q */
bool cli_verbose(void);
/* A note if OpenBLAS computes with a kernel below this processor's, and what to do about it. For programs that compute. */
void cli_note_kernel(void);

/* ------------------------------------------------------------------ input and output */

/* Open an input ("-" or NULL: standard input). A terminal is a usage error. Remembers it for cli_output. Exits on failure. */
int cli_input(const char *path);
/* The same, but what cannot be opened is an error, and *fd is -1 then. */
enum dpo_status cli_try_input(int *fd, const char *path, struct dpo_error *err) DPO_MUST_CHECK;
/* An input as messages name it. */
const char *cli_input_name(const char *path);
/* More than one "-" among the n inputs (NULL: not given) is a usage error. */
void cli_one_stdin(const char *const *paths, size_t n);
/* The same among a model (NULL: not given) and the operands. */
void cli_one_stdin_of(const char *model, char *const *operands, size_t n);
/*
 * The path of a MODEL, itself a path or ORG/NAME[@REVISION] in the Hugging Face cache (hub.h). Remembers it for cli_output.
 * Good until exit. Exits on failure.
 */
const char *cli_model(const char *name);
/*
 * Remember a further file that is read, so that -o may not name it; of a directory, the files of a model or adapter in it. A
 * path that does not exist is ignored.
 */
void cli_reads(const char *path);
/* The directory that path lies in. Caller frees. Exits where memory is out. */
char *cli_parent(const char *path);
/* Remember a file that is mapped into memory: if it becomes shorter while it is read, the program says so and exits 1. */
void cli_mapped(const char *path, const void *data, size_t bytes);
/* Whether path is one of the inputs so far: for a second output, which -o does not cover. */
bool cli_is_input(const char *path);
/* Whether two outputs (NULL or "-": standard output) are one file, also by two names. /dev/null takes any number. */
bool cli_same_output(const char *a, const char *b);
/* For binary output, before hours are spent: exits where cli_output would for its place, a terminal or no directory to write to. */
void cli_place(const char *path);
/*
 * Open the output (NULL or "-": standard output). Naming an input is a usage error; binary output to a terminal as well.
 * An unfinished temporary file is removed if a signal ends the program, SIGPIPE too; a file beyond the limit of its size
 * (SIGXFSZ) is a failed write. Exits on failure.
 */
void cli_output(struct dpo_out *out, const char *path, bool binary);
/*
 * JSON Lines, which have no END: if the program ends before cli_commit, by an error or by a signal that can be caught, and the
 * output is not a file that then disappears, its last line is "PROGRAM stopped here". That is no JSON, so that the rows before it
 * cannot pass for all of them.
 */
void cli_mark(const struct dpo_out *out);
/* Commit, exit on failure. */
void cli_commit(struct dpo_out *out);
/* Watch a further output's temporary file (a checkpoint being written); NULL: no longer. */
void cli_guard(const char *temporary);

/* ------------------------------------------------------------------ time, and progress: rate and time to go
 * On a terminal one line redrawn at most 5 times a second, which a message takes the place of; otherwise a plain line every
 * 30 seconds.
 */
double cli_clock(void);	/* seconds, going forward only */

struct cli_progress {
	const char *what;	/* "pairs" */
	uint64_t total;		/* 0: not known */
	uint64_t first;		/* done before this run */
	double started, shown;
	bool terminal, off;
};

void cli_progress_start(struct cli_progress *progress, const char *what, uint64_t first, uint64_t total);
void cli_progress_show(struct cli_progress *progress, uint64_t done, const char *detail);
void cli_progress_end(void);

/* ------------------------------------------------------------------ signals for programs that can stop and go on
 * After cli_signals_defer(), SIGTERM, SIGXCPU and a first SIGINT are only noted, and cli_signal() tells which (0: none;
 * SIGINT once it was among them); a second SIGINT ends the program at once. cli_signals_default() restores signals that end
 * it, unless one was noted, which it tells. cli_reraise() ends the program as the signal would have.
 */
void cli_signals_defer(void);
int cli_signals_default(void);
int cli_signal(void);
_Noreturn void cli_reraise(int number);

#endif
