/*
 * Descriptors that DPDK makes, wrapped at link time: none of them is for a
 * program that this process may become (exec) or start. Some are made while the
 * program runs, by EAL's interrupt thread, so marking them afterwards would
 * race.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

int __real_open64(const char *path, int flags, ...);
int __real_socket(int domain, int type, int protocol);
int __real_eventfd(unsigned int count, int flags);
int __real_timerfd_create(int clock, int flags);
int __real_memfd_create(const char *name, unsigned int flags);

int __wrap_open64(const char *path, int flags, ...);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_pipe(int ends[2]);
int __wrap_epoll_create(int size);
int __wrap_eventfd(unsigned int count, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_memfd_create(const char *name, unsigned int flags);

int
__wrap_open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return __real_open64(path, flags | O_CLOEXEC, mode);
}

int
__wrap_socket(int domain, int type, int protocol)
{
	return __real_socket(domain, type | SOCK_CLOEXEC, protocol);
}

int
__wrap_pipe(int ends[2])
{
	return pipe2(ends, O_CLOEXEC);
}

int
__wrap_epoll_create(int size)
{
	(void)size;
	return epoll_create1(EPOLL_CLOEXEC);
}

int
__wrap_eventfd(unsigned int count, int flags)
{
	return __real_eventfd(count, flags | EFD_CLOEXEC);
}

int
__wrap_timerfd_create(int clock, int flags)
{
	return __real_timerfd_create(clock, flags | TFD_CLOEXEC);
}

int
__wrap_memfd_create(const char *name, unsigned int flags)
{
	return __real_memfd_create(name, flags | MFD_CLOEXEC);
}
