/*
 * EAL as a guest in somebody's process.
 *
 * rte_eal_init() pins the calling thread, starts threads that would take the
 * program's signals, prints usage and alerts, and ends the process on some
 * arguments. Here it runs under a guard: affinity and signal mask are restored,
 * printing goes to the log, and exit() and abort() come back as an error (they
 * are wrapped at link time, as are the printing functions).
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_memory.h>

#include "internal.h"

static tpa_log_fn log_sink;

void
tpa_log(uint32_t level, const char *text, size_t len)
{
	while (len > 0 && text[len - 1] == '\n')
		len--;
	if (log_sink != NULL && len > 0)
		log_sink(level, text, len);
}

static ssize_t
log_stream_write(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	tpa_log((uint32_t)rte_log_cur_msg_loglevel(), text, len);
	return (ssize_t)len;
}

void
tpa_set_log(tpa_log_fn sink, uint32_t level)
{
	static FILE *stream;
	const cookie_io_functions_t functions = { .write = log_stream_write };

	log_sink = sink;
	if (stream == NULL) {
		stream = fopencookie(NULL, "w", functions);
		if (stream != NULL) {
			setvbuf(stream, NULL, _IOLBF, 0);
			rte_openlog_stream(stream);
		}
	}
	rte_log_set_global_level(level);
	tpa_xsk_set_log();
}

/* Printing of DPDK and its drivers, wrapped: standard output and error belong
 * to the program. */

static int
print_to_log(const char *format, va_list args)
{
	char text[512];
	int len = vsnprintf(text, sizeof(text), format, args);

	if (len > 0)
		tpa_log(RTE_LOG_INFO, text, strnlen(text, sizeof(text)));
	return len;
}

int __real___vfprintf_chk(FILE *file, int flag, const char *format, va_list args);

static int
print_to_file(FILE *file, const char *format, va_list args)
{
	if (file == stdout || file == stderr)
		return print_to_log(format, args);
	return __real___vfprintf_chk(file, 1, format, args);
}

int __wrap_printf(const char *format, ...);
int __wrap___printf_chk(int flag, const char *format, ...);
int __wrap_fprintf(FILE *file, const char *format, ...);
int __wrap___fprintf_chk(FILE *file, int flag, const char *format, ...);
int __wrap___vfprintf_chk(FILE *file, int flag, const char *format, va_list args);
int __wrap_puts(const char *text);
int __wrap_putchar(int c);

int
__wrap_printf(const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = print_to_log(format, args);
	va_end(args);
	return len;
}

int
__wrap___printf_chk(int flag, const char *format, ...)
{
	va_list args;
	int len;

	(void)flag;
	va_start(args, format);
	len = print_to_log(format, args);
	va_end(args);
	return len;
}

int
__wrap_fprintf(FILE *file, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = print_to_file(file, format, args);
	va_end(args);
	return len;
}

int
__wrap___fprintf_chk(FILE *file, int flag, const char *format, ...)
{
	va_list args;
	int len;

	(void)flag;
	va_start(args, format);
	len = print_to_file(file, format, args);
	va_end(args);
	return len;
}

int
__wrap___vfprintf_chk(FILE *file, int flag, const char *format, va_list args)
{
	(void)flag;
	return print_to_file(file, format, args);
}

int
__wrap_puts(const char *text)
{
	tpa_log(RTE_LOG_INFO, text, strlen(text));
	return 0;
}

int
__wrap_putchar(int c)
{
	return c;
}

/* exit() and abort() inside rte_eal_init(), wrapped. */

static pthread_t guarded_thread;
static volatile bool guarded;
static jmp_buf guard;

void __real_exit(int status) __attribute__((noreturn));
void __real_abort(void) __attribute__((noreturn));
void __wrap_exit(int status) __attribute__((noreturn));
void __wrap_abort(void) __attribute__((noreturn));

static void
leave_guard(void)
{
	if (guarded && pthread_equal(pthread_self(), guarded_thread))
		longjmp(guard, 1);
}

void
__wrap_exit(int status)
{
	leave_guard();
	__real_exit(status);
}

void
__wrap_abort(void)
{
	leave_guard();
	__real_abort();
}

static int
guarded_eal_init(int argc, char **argv)
{
	int result;

	guarded_thread = pthread_self();
	guarded = true;
	if (setjmp(guard) == 0)
		result = rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
	else
		result = -ECANCELED;
	guarded = false;
	return result;
}

/* A forked child must not hold the memory that devices write to. */

void
tpa_keep_from_fork(const void *address, size_t len)
{
	(void)madvise((void *)(uintptr_t)address, len, MADV_DONTFORK);
}

static int
keep_segment_from_fork(const struct rte_memseg_list *list, const struct rte_memseg *segment,
		       size_t len, void *arg)
{
	(void)list;
	(void)arg;
	tpa_keep_from_fork(segment->addr, len);
	return 0;
}

static void
on_memory_event(enum rte_mem_event event, const void *address, size_t len, void *arg)
{
	(void)arg;
	if (event == RTE_MEM_EVENT_ALLOC)
		tpa_keep_from_fork(address, len);
}

static void
keep_memory_from_fork(void)
{
	/* Without hugepages all memory is there from the start, and the
	 * callback is refused. */
	(void)rte_mem_event_callback_register("tpa", on_memory_event, NULL);
	(void)rte_memseg_contig_walk(keep_segment_from_fork, NULL);
}

/* EAL makes a directory of this instance even when nothing is shared: it is
 * empty, and so may be the one that holds those of all instances. */
static void
remove_runtime_directory(void)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s", rte_eal_get_runtime_dir());
	(void)rmdir(path);
	(void)rmdir(dirname(path));
}

int
tpa_eal_init(int argc, char **argv)
{
	cpu_set_t affinity;
	sigset_t all, signals;
	bool have_affinity;
	int result;

	have_affinity = sched_getaffinity(0, sizeof(affinity), &affinity) == 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &signals);
	result = guarded_eal_init(argc, argv);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	if (have_affinity)
		(void)sched_setaffinity(0, sizeof(affinity), &affinity);
	if (result == 0) {
		keep_memory_from_fork();
		remove_runtime_directory();
	}
	return result;
}
