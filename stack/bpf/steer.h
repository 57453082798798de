/*
 * What the steering program and its users agree on. Read by clang for the
 * program and by bindgen for Rust.
 *
 * Every piece of state belongs to one receive queue, and is written only by the
 * process that owns this queue, that is, has its AF_XDP socket: no two
 * processes write one entry. Addresses and ports are in network byte order,
 * all else in the host's; an IPv4 address is an IPv4-mapped one (::ffff:0:0/96).
 *
 *   map        key                        value
 *   xsks       queue                      the queue's AF_XDP socket
 *   listeners  struct tpa_listener        TPA_LISTENING or TPA_LISTENED
 *   addresses  struct tpa_address         TPA_SHARED or TPA_OWN
 *   blocks     queue * TPA_BLOCKS + port / TPA_BLOCK_PORTS    1: taken
 *   counters   enum tpa_count             frames, a CPU each
 *   instance   0                          struct tpa_instance
 *   reused     struct flow                1: see steer.bpf.c
 */
#ifndef TPA_STEER_H
#define TPA_STEER_H

/* Raised with every change of this file or of the program's meaning; a process
 * joins only a program of its own number. */
#define TPA_STEER_ABI 3

/* Queues of an interface that can be steered. */
#define TPA_MAX_QUEUES 64

/* Listening ports of all queues together, and of addresses. */
#define TPA_MAX_LISTENERS 8192
#define TPA_MAX_ADDRESSES 1024

/* Local ports of outgoing connections are steered in aligned blocks. */
#define TPA_BLOCK_PORTS 64
#define TPA_BLOCKS (65536 / TPA_BLOCK_PORTS)

/* A port that takes connections, and one that did while its flows stand. */
#define TPA_LISTENING 1
#define TPA_LISTENED 2

/* An address of the kernel's, whose traffic is shared with it, and one that the
 * kernel does not have: its TCP, ICMP, ARP and neighbour discovery are ours. */
#define TPA_SHARED 1
#define TPA_OWN 2

struct tpa_listener {
	__u32 address[4];
	__u16 port;
	__u16 queue;
};

struct tpa_address {
	__u32 address[4];
	__u32 queue;
};

/* Whose program this is: a number of an interface means nothing without its
 * network namespace. */
struct tpa_instance {
	__u32 abi;
	__u32 ifindex;
	__u64 netns_dev;
	__u64 netns_inode;
};

enum tpa_count {
	TPA_PASS_OTHER,       /* not TCP to one of our ports */
	TPA_PASS_FRAGMENT,    /* an IP fragment */
	TPA_PASS_KERNEL_FLOW, /* of one of our ports, but the kernel's connection */
	TPA_PASS_NO_SOCKET,   /* ours, but the queue has no socket (any more) */
	TPA_REDIRECT_SYN,     /* a new connection to a listening port */
	TPA_REDIRECT_FLOW,    /* of a connection to such a port, ICMP errors included */
	TPA_REDIRECT_BLOCK,   /* the same, from a port block */
	TPA_REDIRECT_OWN,     /* TCP, ICMP, ARP or neighbour discovery of an own address */
	TPA_COUNTS,
};

#endif
