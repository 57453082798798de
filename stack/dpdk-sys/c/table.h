/*
 * The face of libtpa_dpdk.so: one table of functions behind one symbol.
 *
 * Rust's side is generated from this header by bindgen, so it names no DPDK
 * type: what a caller needs of an mbuf is flattened into tpa_frame. Functions
 * return 0 or a negative errno unless they say otherwise.
 */
#ifndef TPA_DPDK_TABLE_H
#define TPA_DPDK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raised with every change of this file; checked when the object is opened. */
#define TPA_DPDK_ABI 1

/* Flags of a frame. */
#define TPA_FRAME_CHECKSUM_GOOD 1u /* received: IP and TCP sums verified */
#define TPA_FRAME_CHECKSUM_BAD 2u  /* received: a sum is wrong */
#define TPA_FRAME_CHECKSUM_TX 4u   /* to send: the device computes the TCP sum */

/* Flags of a pool. */
#define TPA_POOL_DENSE 1u /* one run of buffers without page padding (AF_XDP) */

/* Capabilities of a port. */
#define TPA_PORT_TX_TCP_CHECKSUM 1u
#define TPA_PORT_RX_CHECKSUM 2u

struct tpa_pool;

/* One frame in one linear buffer. */
struct tpa_frame {
	uint8_t *data;     /* first byte of the Ethernet header */
	uint32_t len;      /* bytes of the frame */
	uint32_t capacity; /* bytes that the buffer holds from data on */
	uint32_t flags;    /* TPA_FRAME_* */
	uint32_t unused;
	void *mbuf;        /* the handle: a struct rte_mbuf */
};

/* What a port is. */
struct tpa_port_info {
	uint8_t mac[6];
	uint16_t mtu;           /* bytes of the largest IP packet */
	uint16_t max_mtu;       /* what the driver takes at most */
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint32_t capabilities;  /* TPA_PORT_* */
	char driver[32];
};

/* Counts of a port, monotonic. */
struct tpa_port_stats {
	uint64_t rx_frames;
	uint64_t tx_frames;
	uint64_t rx_missed; /* lost before the driver: rings or buffers full */
	uint64_t rx_errors;
};

/* An AF_XDP socket that the driver made. */
struct tpa_xsk {
	int fd;
	bool zero_copy;
};

/* Which frames a flow rule takes, to which queues. Network byte order. */
struct tpa_flow {
	uint32_t dst_ip;
	uint16_t dst_port;
	uint16_t dst_port_mask;
	const uint16_t *queues;
	uint16_t queue_count;
};

/* Receives DPDK's log: RTE_LOG_* level, text without end of line. */
typedef void (*tpa_log_fn)(uint32_t level, const char *text, size_t len);

struct tpa_dpdk {
	uint32_t abi;
	uint32_t size;

	const char *(*version)(void);
	/* level: RTE_LOG_*; what is less important is not even formatted. */
	void (*set_log)(tpa_log_fn sink, uint32_t level);

	/* Starts EAL, once a process. Keeps the caller's affinity and signal
	 * mask; what EAL would print goes to the log, where it would end the
	 * process -ECANCELED is returned. */
	int (*eal_init)(int argc, char **argv);

	int (*vdev_create)(const char *name, const char *args);
	int (*vdev_remove)(const char *name);
	int (*device_probe)(const char *devargs);
	int (*port_of)(const char *device, uint16_t *port);
	int (*port_device_remove)(uint16_t port);

	int (*port_info)(uint16_t port, struct tpa_port_info *info);
	int (*port_stats)(uint16_t port, struct tpa_port_stats *stats);
	/* capabilities: those of port_info to switch on; interrupts: RX ones. */
	int (*port_configure)(uint16_t port, uint16_t rx, uint16_t tx, uint16_t mtu,
			      uint32_t capabilities, bool interrupts);
	int (*rx_queue_setup)(uint16_t port, uint16_t queue, uint16_t descriptors,
			      struct tpa_pool *pool);
	int (*tx_queue_setup)(uint16_t port, uint16_t queue, uint16_t descriptors);
	int (*port_start)(uint16_t port);
	int (*port_stop)(uint16_t port);
	bool (*port_link)(uint16_t port);

	/* An eventfd-like descriptor, or a negative errno. */
	int (*rx_interrupt_fd)(uint16_t port, uint16_t queue);
	int (*rx_interrupt)(uint16_t port, uint16_t queue, bool enable);
	/* 1: frames wait, 0: none, negative errno: the driver cannot tell. */
	int (*rx_pending)(uint16_t port, uint16_t queue);

	/* room: bytes of the largest frame. */
	int (*pool_create)(const char *name, uint32_t count, uint32_t room,
			   uint32_t flags, struct tpa_pool **pool);
	void (*pool_free)(struct tpa_pool *pool);
	/* Buffers that are free, those in caches included. */
	uint32_t (*pool_available)(const struct tpa_pool *pool);

	/* The calls of the data path. Those on one queue and its pool must not
	 * run at the same time, but free may run at any time in any thread. */
	bool (*alloc)(struct tpa_pool *pool, struct tpa_frame *frame);
	void (*free)(void *mbuf);
	uint16_t (*rx_burst)(uint16_t port, uint16_t queue, struct tpa_frame *frames,
			     uint16_t count);
	/* Sends from the front, up to the first frame that is not of this pool.
	 * Returns how many frames now belong to the driver. */
	uint16_t (*tx_burst)(uint16_t port, uint16_t queue, const struct tpa_pool *pool,
			     const struct tpa_frame *frames, uint16_t count);
	bool (*pool_owns)(const struct tpa_pool *pool, const void *mbuf);

	/* 0 and the socket of this interface's queue that is open now. */
	int (*xsk)(const char *interface, uint32_t queue, struct tpa_xsk *xsk);
	/* Whether such a socket can be made: -EBUSY when another has the queue. */
	int (*xsk_probe)(const char *interface, uint32_t queue);
	/* Error of the last try to make such a socket, 0 when it succeeded. */
	int (*xsk_error)(void);

	int (*flow_isolate)(uint16_t port, bool on);
	/* text: why not, of at most text_len bytes with its NUL. */
	int (*flow_create)(uint16_t port, const struct tpa_flow *flow, void **handle,
			   char *text, size_t text_len);
	int (*flow_destroy)(uint16_t port, void *handle);
};

/* The one exported symbol. */
const struct tpa_dpdk *tpa_dpdk_table(void);

#endif
