/* cli - see cli.h. Here: ending, messages, output, progress, signals. Options are in options.c, inputs in inputs.c. */
#include "base/buffer.h"
#include "base/parallel.h"
#include "cli.h"
#include "cli_private.h"
#include "kernel/gemm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	const struct cli_program *program;
	bool quiet, verbose;
	bool drawn;			/* the terminal's last line is progress */
	struct mapped { uintptr_t begin, end; char *line; size_t length; } *maps;	/* kept until exit */
	size_t n_maps;
} state;

static const char clear_line[] = "\r\033[K";

/* Names of unfinished files, for the handler: fixed memory, set before the pointer's flag. */
static char guarded[2][4200];
static volatile sig_atomic_t is_guarded[2];
/* The descriptor of rows that have no END, or -1, and the line that tells that they stopped. */
static volatile sig_atomic_t marked = -1;
static char mark[64];
/* How long a signal waits for a reader that is slow to take that line; an error waits as long as it takes. */
enum { PATIENCE = 1000 };	/* milliseconds */
static volatile sig_atomic_t deferred, noted;
static atomic_flag told = ATOMIC_FLAG_INIT;

/*
 * libgomp's threads spin while they wait, unless the environment says otherwise before the library starts: two of our
 * programs in one pipe would fight for the cores. Waking a thread that sleeps takes longer than many a piece of work,
 * though, so they spin for some 10 microseconds before they sleep. The environment can only be changed in time by
 * starting anew.
 */
void
cli_wait_passively(char **argv)
{
	char self[4096];
	ssize_t length;

	if (getenv("OMP_WAIT_POLICY"))
		return;
	setenv("OMP_WAIT_POLICY", "passive", 1);
	setenv("GOMP_SPINCOUNT", "250", 0);
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	/* By its name: under valgrind the link itself leads to valgrind. */
	length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length > 0) {
		self[length] = '\0';
		dpo_parallel_unbind();
		execv(self, argv);
	}
	/* Without /proc the program works as well, only less politely. */
}

/* ------------------------------------------------------------------ ending */

int
cli_code(enum dpo_status status)
{
	return status == DPO_OK ? 0 : status >= 20 ? (int)status / 10 : 1;
}

static void
remove_unfinished(void)
{
	for (size_t i = 0; i < 2; i++)
		if (is_guarded[i])
			unlink(guarded[i]);
}

static void
mark_end(int patience)
{
	struct pollfd reader = { .fd = marked, .events = POLLOUT };

	if (marked < 0)
		return;
	marked = -1;
	signal(SIGPIPE, SIG_IGN);	/* no reader, nobody to tell */
	if (poll(&reader, 1, patience) > 0)
		(void)!write(reader.fd, mark, strlen(mark));
}

/* Progress is drawn again after a message, which has a line of its own. */
static void
clear_progress(void)
{
	if (state.drawn)
		fputs(clear_line, stderr);
	state.drawn = false;
}

/* Texts of others' files are in messages, and a terminal obeys its control characters. */
static void
tell(const char *kind, const char *text)
{
	struct dpo_buffer line = { 0 };

	clear_progress();
	dpo_buffer_visible(&line, text, strlen(text), "");
	fprintf(stderr, "%s: %s%s\n", state.program->name, kind, line.failed ? text : dpo_buffer_text(&line));
	dpo_buffer_free(&line);
}

static void
say(const char *kind, const char *format, va_list args)
{
	char text[8192];

	vsnprintf(text, sizeof text, format, args);
	tell(kind, text);
}

void
cli_complain(const struct dpo_error *err)
{
	tell("", err->text);
}

void
cli_fail(const struct dpo_error *err)
{
	cli_complain(err);
	remove_unfinished();
	mark_end(-1);
	exit(cli_code(err->status));
}

void
cli_out_of_memory(void)
{
	struct dpo_error err;

	(void)dpo_fail_memory(&err);
	cli_fail(&err);
}

void
cli_fail_at(struct dpo_error *err, const char *place)
{
	dpo_error_prefix(err, "%s", place);
	cli_fail(err);
}

void
cli_check(enum dpo_status status, const struct dpo_error *err)
{
	if (status != DPO_OK && status != DPO_END)
		cli_fail(err);
}

void
cli_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("", format, args);
	va_end(args);
	cli_print_usage(state.program, stderr);
	remove_unfinished();
	exit(2);
}

int
cli_finish(int code)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "%s: standard output: %s\n", state.program->name, strerror(errno));
		return 1;
	}
	return code;
}

/* ------------------------------------------------------------------ messages */

void
cli_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("warning: ", format, args);
	va_end(args);
}

void
cli_note(const char *format, ...)
{
	va_list args;

	if (state.quiet)
		return;
	va_start(args, format);
	say("", format, args);
	va_end(args);
}

bool
cli_verbose(void)
{
	return state.verbose;
}

void
cli_note_kernel(void)
{
	const char *better = dpo_gemm_better();

	if (better && getenv("OPENBLAS_CORETYPE"))
		cli_note("OpenBLAS computes with kernel %s, slower than this processor can: unset OPENBLAS_CORETYPE",
		    dpo_gemm_kernel());
	else if (better)
		cli_note("OpenBLAS computes with kernel %s, slower than this processor can: set OPENBLAS_CORETYPE=%s",
		    dpo_gemm_kernel(), better);
}

/* ------------------------------------------------------------------ files mapped, and output */

void
cli_mapped(const char *path, const void *data, size_t bytes)
{
	static const char fact[] = "became shorter while it was read";
	size_t room = strlen(state.program->name) + strlen(path) + sizeof fact + 5;
	struct mapped *maps = realloc(state.maps, (state.n_maps + 1) * sizeof *maps);
	char *line = malloc(room);

	if (maps)
		state.maps = maps;
	if (!maps || !line)
		cli_out_of_memory();
	maps[state.n_maps++] = (struct mapped){ (uintptr_t)data, (uintptr_t)data + bytes, line,
		(size_t)snprintf(line, room, "%s: %s: %s\n", state.program->name, path, fact) };
}

static void
guard(size_t slot, const char *path)
{
	is_guarded[slot] = 0;
	if (path && strlen(path) < sizeof guarded[slot]) {
		memcpy(guarded[slot], path, strlen(path) + 1);
		is_guarded[slot] = 1;
	}
}

void
cli_guard(const char *temporary)
{
	guard(1, temporary);
}

static const char to_a_terminal[] = "binary output to a terminal; use -o FILE or a pipe";

void
cli_place(const char *path)
{
	struct dpo_error err;

	cli_check(dpo_out_place(path, &err), &err);
	if ((!path || strcmp(path, "-") == 0) && isatty(STDOUT_FILENO))
		cli_usage("%s", to_a_terminal);
}

void
cli_output(struct dpo_out *out, const char *path, bool binary)
{
	struct dpo_error err;

	if (cli_is_input(path))
		cli_usage("%s: is an input; write to another file", path);
	cli_check(dpo_out_open(out, path, &err), &err);
	if (binary && isatty(out->fd)) {
		dpo_out_abort(out);
		cli_usage("%s", to_a_terminal);
	}
	guard(0, out->temp);
}

void
cli_mark(const struct dpo_out *out)
{
	if (out->temp)
		return;
	snprintf(mark, sizeof mark, "%s stopped here\n", state.program->name);
	marked = out->fd;
}

void
cli_commit(struct dpo_out *out)
{
	struct dpo_error err;

	marked = -1;
	cli_check(dpo_out_commit(out, &err), &err);
	guard(0, NULL);
}

/* ------------------------------------------------------------------ progress */

double
cli_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void
cli_progress_start(struct cli_progress *progress, const char *what, uint64_t first, uint64_t total)
{
	double start = cli_clock();

	*progress = (struct cli_progress){ .what = what, .total = total, .first = first, .started = start,
		.shown = start, .terminal = isatty(STDERR_FILENO), .off = state.quiet };
}

static void
time_to_go(const struct cli_progress *progress, uint64_t done, double rate, char *text, size_t room)
{
	long left = progress->total > done && rate > 0 ? (long)((double)(progress->total - done) / rate + 0.5) : 0;

	if (progress->total == 0 || rate <= 0)
		text[0] = '\0';
	else
		snprintf(text, room, " ETA %ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
}

void
cli_progress_show(struct cli_progress *progress, uint64_t done, const char *detail)
{
	double t = cli_clock(), rate;
	char eta[64], total[32] = "";

	if (progress->off || t - progress->shown < (progress->terminal ? 0.2 : 30.0))
		return;
	progress->shown = t;
	rate = (double)(done - progress->first) / (t - progress->started);
	time_to_go(progress, done, rate, eta, sizeof eta);
	if (progress->total)
		snprintf(total, sizeof total, "/%llu", (unsigned long long)progress->total);
	fprintf(stderr, "%s%s: %llu%s %s, %.3g/s%s%s%s%s", progress->terminal ? "\r" : "", state.program->name,
	    (unsigned long long)done, total, progress->what, rate, eta, detail ? ", " : "", detail ? detail : "",
	    progress->terminal ? "\033[K" : "\n");
	state.drawn = progress->terminal;
}

void
cli_progress_end(void)
{
	clear_progress();
}

/* ------------------------------------------------------------------ signals */

/* A first SIGINT is kept whatever comes before or after it: it decides how the program ends. */
static bool
can_wait(int number)
{
	return number == SIGINT ? noted != SIGINT : number == SIGTERM || number == SIGXCPU;
}

static void
on_signal(int number)
{
	if (deferred && can_wait(number)) {
		if (noted != SIGINT)
			noted = number;
		return;
	}
	remove_unfinished();
	mark_end(PATIENCE);
	signal(number, SIG_DFL);
	raise(number);
}

/* A read beyond the end of a mapped file; its line was made ready by cli_mapped. */
static void
on_bus_error(int number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (size_t i = 0; i < state.n_maps; i++)
		if (at >= state.maps[i].begin && at < state.maps[i].end) {
			while (atomic_flag_test_and_set(&told))	/* by another thread */
				pause();
			remove_unfinished();
			if (state.drawn)
				(void)!write(STDERR_FILENO, clear_line, sizeof clear_line - 1);
			(void)!write(STDERR_FILENO, state.maps[i].line, state.maps[i].length);
			mark_end(-1);
			_exit(1);
		}
	signal(number, SIG_DFL);	/* and the same again, to die of it */
}

void
cli_signals_defer(void)
{
	deferred = 1;
}

int
cli_signals_default(void)
{
	if (noted == 0)
		deferred = 0;
	return noted;	/* also what came since that test */
}

int
cli_signal(void)
{
	return noted;
}

void
cli_reraise(int number)
{
	remove_unfinished();
	signal(number, SIG_DFL);
	raise(number);
	_exit(128 + number);
}

/* A closed descriptor 0, 1 or 2 would be taken by the next file opened: put one there that fails to read and write. */
static void
occupy_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/", fd == 0 ? O_WRONLY | O_DIRECTORY : O_RDONLY) < 0)
			(void)!open("/", O_RDONLY | O_DIRECTORY);
}

void
cli_start(const struct cli_program *program)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGPIPE };
	struct sigaction action = { .sa_handler = on_signal }, bus = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO },
	    before;

	state.program = program;
	occupy_standard_descriptors();
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	signal(SIGXFSZ, SIG_IGN);	/* write tells of it, and where */
	sigemptyset(&bus.sa_mask);
	sigaction(SIGBUS, &bus, NULL);
}

void
cli_set_loudness(bool quiet, bool verbose)
{
	state.quiet = quiet;
	state.verbose = verbose;
}
