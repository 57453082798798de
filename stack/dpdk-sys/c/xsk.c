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
#include <string.h>
#include <sys/socket.h>

#include <linux/if_xdp.h>
#include <net/if.h>

#include <xdp/xsk.h>

#include "internal.h"

#define MAX_SOCKETS 64

struct record {
	struct xsk_socket *socket;
	char interface[IF_NAMESIZE];
	uint32_t queue;
};

static struct record records[MAX_SOCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int last_error;

static void
remember(struct xsk_socket *socket, const char *interface, uint32_t queue)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MAX_SOCKETS; i++) {
		struct record *record = &records[i];

		if (record->socket != NULL)
			continue;
		record->socket = socket;
		record->queue = queue;
		strncpy(record->interface, interface, IF_NAMESIZE - 1);
		break;
	}
	pthread_mutex_unlock(&lock);
}

static void
forget(const struct xsk_socket *socket)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MAX_SOCKETS; i++) {
		if (records[i].socket == socket)
			memset(&records[i], 0, sizeof(records[i]));
	}
	pthread_mutex_unlock(&lock);
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
adopt(struct xsk_socket *socket, const char *interface, uint32_t queue,
      const struct xsk_ring_cons *rx, const struct xsk_ring_prod *tx)
{
	struct xdp_mmap_offsets offsets;
	int fd = xsk_socket__fd(socket);

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (ring_offsets(fd, &offsets)) {
		keep_ring_from_fork(rx->producer, &offsets.rx, rx->size, sizeof(struct xdp_desc));
		keep_ring_from_fork(tx->producer, &offsets.tx, tx->size, sizeof(struct xdp_desc));
	}
	remember(socket, interface, queue);
}

int __real_xsk_umem__create(struct xsk_umem **umem, void *area, __u64 size,
			    struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			    const struct xsk_umem_config *config);
int __real_xsk_socket__create(struct xsk_socket **socket, const char *interface, __u32 queue,
			      struct xsk_umem *umem, struct xsk_ring_cons *rx,
			      struct xsk_ring_prod *tx, const struct xsk_socket_config *config);
void __real_xsk_socket__delete(struct xsk_socket *socket);

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
	result = __real_xsk_socket__create(socket, interface, queue, umem, rx, tx, &ours);
	last_error = -result;
	if (result == 0)
		adopt(*socket, interface, queue, rx, tx);
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

void
__wrap_xsk_socket__delete(struct xsk_socket *socket)
{
	forget(socket);
	__real_xsk_socket__delete(socket);
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
