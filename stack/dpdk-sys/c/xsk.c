/*
 * What the AF_XDP driver asks of libxdp, wrapped at link time.
 *
 * The steering program is ours, attached by a link that dies with the process.
 * So libxdp must not load one of its own, and the driver must not detach
 * whatever it finds at close. We also keep what nobody else tells: the
 * descriptor of each queue's socket, and why one could not be made (a queue
 * that another process holds is EBUSY).
 *
 * The rings are mappings of the socket's file: a forked child that inherited
 * them would keep the queue taken after its parent's death.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_xdp.h>
#include <net/if.h>

#include <bpf/libbpf.h>
#include <rte_log.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#include "internal.h"

#define MAX_SOCKETS 64

#define BUSY_TRIES 100
#define BUSY_WAIT_US 5000

struct record {
	struct xsk_socket *socket;
	struct xsk_umem *umem;
	char interface[IF_NAMESIZE];
	uint32_t queue;
};

static struct record records[MAX_SOCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int last_error;

static void
remember(const struct record *what)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MAX_SOCKETS; i++) {
		if (records[i].socket == NULL) {
			records[i] = *what;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* Forgets a socket and returns its umem, NULL when it is not known. */
static struct xsk_umem *
forget(const struct xsk_socket *socket)
{
	struct xsk_umem *umem = NULL;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MAX_SOCKETS; i++) {
		if (socket != NULL && records[i].socket == socket) {
			umem = records[i].umem;
			memset(&records[i], 0, sizeof(records[i]));
		}
	}
	pthread_mutex_unlock(&lock);
	return umem;
}

/* Umems that went with their sockets. */
static struct xsk_umem *deleted[MAX_SOCKETS];

static void
remember_deleted(struct xsk_umem *umem)
{
	static size_t next;

	pthread_mutex_lock(&lock);
	deleted[next++ % MAX_SOCKETS] = umem;
	pthread_mutex_unlock(&lock);
}

static bool
forget_deleted(const struct xsk_umem *umem)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; umem != NULL && i < MAX_SOCKETS; i++) {
		if (deleted[i] == umem) {
			deleted[i] = NULL;
			found = true;
		}
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static bool
is_zero_copy(int fd)
{
	struct xdp_options options = { 0 };
	socklen_t len = sizeof(options);

	return getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &len) == 0 &&
	       (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

int
tpa_xsk_find(const char *interface, uint32_t queue, struct tpa_xsk *xsk)
{
	int result = -ENOENT;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MAX_SOCKETS; i++) {
		const struct record *record = &records[i];

		if (record->socket == NULL || record->queue != queue ||
		    strncmp(record->interface, interface, IF_NAMESIZE) != 0)
			continue;
		xsk->fd = xsk_socket__fd(record->socket);
		xsk->zero_copy = is_zero_copy(xsk->fd);
		result = 0;
		break;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

int
tpa_xsk_error(void)
{
	return last_error;
}

/* A ring starts where its producer index is less that index's offset, and ends
 * with its descriptors. */
static void
keep_ring_from_fork(const uint32_t *producer, const struct xdp_ring_offset *offset, uint32_t size,
		    size_t descriptor)
{
	if (producer != NULL)
		tpa_keep_from_fork((const char *)producer - offset->producer,
				   offset->desc + size * descriptor);
}

static bool
ring_offsets(int fd, struct xdp_mmap_offsets *offsets)
{
	socklen_t len = sizeof(*offsets);

	return getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, &len) == 0 &&
	       len == sizeof(*offsets);
}

static void
adopt(struct xsk_socket *socket, struct xsk_umem *umem, const char *interface, uint32_t queue,
      const struct xsk_ring_cons *rx, const struct xsk_ring_prod *tx)
{
	struct record record = { .socket = socket, .umem = umem, .queue = queue };
	struct xdp_mmap_offsets offsets;
	int fd = xsk_socket__fd(socket);

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (ring_offsets(fd, &offsets)) {
		keep_ring_from_fork(rx->producer, &offsets.rx, rx->size, sizeof(struct xdp_desc));
		keep_ring_from_fork(tx->producer, &offsets.tx, tx->size, sizeof(struct xdp_desc));
	}
	strncpy(record.interface, interface, IF_NAMESIZE - 1);
	remember(&record);
}

int __real_xsk_umem__create(struct xsk_umem **umem, void *area, __u64 size,
			    struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			    const struct xsk_umem_config *config);
int __real_xsk_socket__create(struct xsk_socket **socket, const char *interface, __u32 queue,
			      struct xsk_umem *umem, struct xsk_ring_cons *rx,
			      struct xsk_ring_prod *tx, const struct xsk_socket_config *config);
void __real_xsk_socket__delete(struct xsk_socket *socket);
int __real_xsk_umem__delete(struct xsk_umem *umem);

int __wrap_xsk_umem__create(struct xsk_umem **umem, void *area, __u64 size,
			    struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			    const struct xsk_umem_config *config);
int __wrap_xsk_socket__create(struct xsk_socket **socket, const char *interface, __u32 queue,
			      struct xsk_umem *umem, struct xsk_ring_cons *rx,
			      struct xsk_ring_prod *tx, const struct xsk_socket_config *config);
int __wrap_xsk_socket__create_shared(struct xsk_socket **socket, const char *interface,
				     __u32 queue, struct xsk_umem *umem, struct xsk_ring_cons *rx,
				     struct xsk_ring_prod *tx, struct xsk_ring_prod *fill,
				     struct xsk_ring_cons *completion,
				     const struct xsk_socket_config *config);
void __wrap_xsk_socket__delete(struct xsk_socket *socket);
int __wrap_xsk_umem__delete(struct xsk_umem *umem);
int __wrap_bpf_xdp_query_id(int ifindex, int flags, __u32 *id);
int __wrap_bpf_xdp_detach(int ifindex, __u32 flags, const void *options);

int
__wrap_xsk_umem__create(struct xsk_umem **umem, void *area, __u64 size,
			struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			const struct xsk_umem_config *config)
{
	int result = __real_xsk_umem__create(umem, area, size, fill, completion, config);
	struct xdp_mmap_offsets offsets;

	last_error = -result;
	if (result != 0)
		return result;
	/* The address may be that of one that was deleted before. */
	(void)forget_deleted(*umem);
	(void)fcntl(xsk_umem__fd(*umem), F_SETFD, FD_CLOEXEC);
	if (ring_offsets(xsk_umem__fd(*umem), &offsets)) {
		keep_ring_from_fork(fill->producer, &offsets.fr, fill->size, sizeof(__u64));
		keep_ring_from_fork(completion->producer, &offsets.cr, completion->size,
				    sizeof(__u64));
	}
	return 0;
}

int
__wrap_xsk_socket__create(struct xsk_socket **socket, const char *interface, __u32 queue,
			  struct xsk_umem *umem, struct xsk_ring_cons *rx,
			  struct xsk_ring_prod *tx, const struct xsk_socket_config *config)
{
	struct xsk_socket_config ours = *config;
	int result;

	ours.libxdp_flags |= XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
	/* The kernel frees the queue of a closed socket, such as tpa_xsk_probe's,
	 * a moment later. */
	for (int tries = 0; tries < BUSY_TRIES; tries++) {
		result = __real_xsk_socket__create(socket, interface, queue, umem, rx, tx, &ours);
		if (result != -EBUSY)
			break;
		usleep(BUSY_WAIT_US);
	}
	last_error = -result;
	if (result == 0)
		adopt(*socket, umem, interface, queue, rx, tx);
	return result;
}

#define PROBE_FRAMES 64

static int
probe_with(const char *interface, uint32_t queue, void *area, size_t len)
{
	const struct xsk_umem_config umem_config = {
		.fill_size = PROBE_FRAMES,
		.comp_size = PROBE_FRAMES,
		.frame_size = len / PROBE_FRAMES,
	};
	const struct xsk_socket_config config = {
		.rx_size = PROBE_FRAMES,
		.tx_size = PROBE_FRAMES,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion, rx;
	struct xsk_socket *socket;
	struct xsk_umem *umem;
	int result;

	result = __real_xsk_umem__create(&umem, area, len, &fill, &completion, &umem_config);
	if (result != 0)
		return result;
	result = __real_xsk_socket__create(&socket, interface, queue, umem, &rx, &tx, &config);
	if (result == 0)
		__real_xsk_socket__delete(socket);
	(void)__real_xsk_umem__delete(umem);
	return result;
}

/* Asked before the driver is: it reports every failure as EINVAL, and its
 * clean-up after one writes to memory that it has freed. */
int
tpa_xsk_probe(const char *interface, uint32_t queue)
{
	size_t len = PROBE_FRAMES * (size_t)getpagesize();
	void *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	if (area == MAP_FAILED)
		return -errno;
	result = probe_with(interface, queue, area, len);
	(void)munmap(area, len);
	return result;
}

/* Only for the driver's shared_umem option, which we never give. */
int
__wrap_xsk_socket__create_shared(struct xsk_socket **socket, const char *interface, __u32 queue,
				 struct xsk_umem *umem, struct xsk_ring_cons *rx,
				 struct xsk_ring_prod *tx, struct xsk_ring_prod *fill,
				 struct xsk_ring_cons *completion,
				 const struct xsk_socket_config *config)
{
	(void)socket, (void)interface, (void)queue, (void)umem, (void)rx, (void)tx;
	(void)fill, (void)completion, (void)config;
	last_error = ENOTSUP;
	return -ENOTSUP;
}

/* The socket lives in its umem's descriptor, and the driver of 22.11 never
 * deletes the umem of a port that it closes: the queue would stay taken. So the
 * umem goes with its socket, here, and a driver's own try comes too late. */
void
__wrap_xsk_socket__delete(struct xsk_socket *socket)
{
	struct xsk_umem *umem = forget(socket);

	__real_xsk_socket__delete(socket);
	if (umem != NULL && __real_xsk_umem__delete(umem) == 0)
		remember_deleted(umem);
}

int
__wrap_xsk_umem__delete(struct xsk_umem *umem)
{
	return forget_deleted(umem) ? 0 : __real_xsk_umem__delete(umem);
}

/* What libxdp and libbpf would print to standard error. */
static int
print_to_log(const char *format, va_list args)
{
	char text[512];
	int len = vsnprintf(text, sizeof(text), format, args);

	if (len > 0)
		tpa_log(RTE_LOG_NOTICE, text, strnlen(text, sizeof(text)));
	return len;
}

static int
print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? print_to_log(format, args) : 0;
}

static int
print_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	return level == LIBXDP_WARN ? print_to_log(format, args) : 0;
}

void
tpa_xsk_set_log(void)
{
	(void)libbpf_set_print(print_libbpf);
	(void)libxdp_set_print(print_libxdp);
}

/* The flags of an interface are its administrator's: the driver would switch
 * promiscuous mode off when a port starts. And to set what is set already would
 * take a privilege for nothing. */

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static bool
changes_promiscuity_at_most(int fd, const struct ifreq *wanted)
{
	struct ifreq now = *wanted;

	return __real_ioctl(fd, SIOCGIFFLAGS, &now) == 0 &&
	       ((now.ifr_flags ^ wanted->ifr_flags) & ~IFF_PROMISC) == 0;
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *argument;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	if (request == SIOCSIFFLAGS && changes_promiscuity_at_most(fd, argument))
		return 0;
	return __real_ioctl(fd, request, argument);
}

/* The driver's clean-up of a program that it never attached. */

int
__wrap_bpf_xdp_query_id(int ifindex, int flags, __u32 *id)
{
	(void)ifindex, (void)flags;
	*id = 0;
	return 0;
}

int
__wrap_bpf_xdp_detach(int ifindex, __u32 flags, const void *options)
{
	(void)ifindex, (void)flags, (void)options;
	return 0;
}
