/*
 * The steering program: which frames of a shared interface go to the stack.
 *
 * The rule is to pass: whatever is not clearly of a port that the stack has
 * taken on this queue stays with the kernel, ARP, neighbour discovery, ICMP,
 * VLANs, fragments and IPv6 extension headers included. (An ICMP error is of the
 * port whose segment it quotes.) Of
 * a taken port, a flow that the kernel has established
 * (from before the port was taken, or through another path) stays with the
 * kernel too. A frame for a queue whose socket is gone falls back to the kernel.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

char LICENSE[] SEC("license") = "Apache-2.0";

#define IP_FRAGMENT_MASK 0x3fff /* more fragments, and the offset */

/* An IPv4 address is an IPv4-mapped one. */
struct address {
	__be32 word[4];
};

struct flow {
	struct address saddr;
	struct address daddr;
	__be16 sport;
	__be16 dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, TPA_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TPA_MAX_LISTENERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tpa_listener);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TPA_MAX_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tpa_address);
	__type(value, __u32);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TPA_MAX_QUEUES * TPA_BLOCKS);
	__type(key, __u32);
	__type(value, __u32);
} blocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TPA_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tpa_instance);
} instance SEC(".maps");

/* Flows whose SYN came to us while the kernel still had the former connection
 * of the same four numbers in TIME-WAIT: the rest of the flow is ours. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow);
	__type(value, __u32);
} reused SEC(".maps");

static __always_inline void
count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &reason);

	if (counter)
		(*counter)++;
}

static __always_inline int
pass(__u32 reason)
{
	count(reason);
	return XDP_PASS;
}

static __always_inline int
redirect(__u32 queue, __u32 reason)
{
	int action = bpf_redirect_map(&xsks, queue, XDP_PASS);

	count(action == XDP_REDIRECT ? reason : TPA_PASS_NO_SOCKET);
	return action;
}

static __always_inline struct address
v4(__be32 address)
{
	return (struct address){ { 0, 0, bpf_htonl(0xffff), address } };
}

static __always_inline struct address
v6(const struct in6_addr *address)
{
	struct address copy;

	__builtin_memcpy(&copy, address, sizeof(copy));
	return copy;
}

static __always_inline int
is_v4(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == bpf_htonl(0xffff);
}

static __always_inline int
is_same(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline struct bpf_sock *
kernel_socket(struct xdp_md *ctx, const struct flow *flow)
{
	struct bpf_sock_tuple tuple = {};

	if (is_v4(&flow->daddr)) {
		tuple.ipv4.saddr = flow->saddr.word[3];
		tuple.ipv4.daddr = flow->daddr.word[3];
		tuple.ipv4.sport = flow->sport;
		tuple.ipv4.dport = flow->dport;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &flow->saddr, sizeof(flow->saddr));
	__builtin_memcpy(tuple.ipv6.daddr, &flow->daddr, sizeof(flow->daddr));
	tuple.ipv6.sport = flow->sport;
	tuple.ipv6.dport = flow->dport;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* State of the connection that the kernel has for a flow; 0: none. */
static __always_inline __u32
kernel_state(struct xdp_md *ctx, const struct flow *flow)
{
	struct bpf_sock *sock = kernel_socket(ctx, flow);
	__u32 state;

	if (!sock)
		return 0;
	state = sock->state;
	bpf_sk_release(sock);
	/* The listener behind an accelerated port is no connection. */
	return state == BPF_TCP_LISTEN ? 0 : state;
}

/* Of a port of ours: is this flow nevertheless the kernel's? */
static __always_inline int
is_kernel_flow(struct xdp_md *ctx, const struct flow *flow, int syn)
{
	__u32 state = kernel_state(ctx, flow);
	__u32 one = 1;

	if (!state)
		return 0;
	if (state != BPF_TCP_TIME_WAIT)
		return 1;
	if (syn)
		bpf_map_update_elem(&reused, flow, &one, BPF_ANY);
	return !syn && !bpf_map_lookup_elem(&reused, flow);
}

/* What is for us, or about us, in this flow. */
static __always_inline int
steer_flow(struct xdp_md *ctx, const struct flow *flow, int syn, __u32 queue)
{
	struct tpa_listener port = { .port = flow->dport, .queue = queue };
	__u32 block = queue * TPA_BLOCKS + bpf_ntohs(flow->dport) / TPA_BLOCK_PORTS;
	__u32 reason = TPA_REDIRECT_BLOCK;
	__u32 *value;

	__builtin_memcpy(port.address, &flow->daddr, sizeof(port.address));
	value = bpf_map_lookup_elem(&listeners, &port);
	if (value) {
		/* A port that does not listen any more takes no new flows. */
		if (syn && *value != TPA_LISTENING)
			return pass(TPA_PASS_OTHER);
		reason = syn ? TPA_REDIRECT_SYN : TPA_REDIRECT_FLOW;
	} else {
		value = bpf_map_lookup_elem(&blocks, &block);
		if (!value || !*value)
			return pass(TPA_PASS_OTHER);
	}
	if (is_kernel_flow(ctx, flow, syn))
		return pass(TPA_PASS_KERNEL_FLOW);
	return redirect(queue, reason);
}

static __always_inline int
steer_tcp(struct xdp_md *ctx, struct address saddr, struct address daddr, const struct tcphdr *tcp,
	  const void *end, __u32 queue)
{
	struct flow flow = { .saddr = saddr, .daddr = daddr };

	if ((const void *)(tcp + 1) > end)
		return pass(TPA_PASS_OTHER);
	flow.sport = tcp->source;
	flow.dport = tcp->dest;
	return steer_flow(ctx, &flow, tcp->syn && !tcp->ack, queue);
}

/* ICMP (RFC 792); the kernel's header of it needs the C library. */
#define ICMP_DEST_UNREACH 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
	struct iphdr quoted;
};

/* The first bytes of a TCP header, of which an ICMP error quotes eight. */
struct ports {
	__be16 source;
	__be16 dest;
	__be32 seq;
};

/* Steers an error like the replies to the segment that it quotes. */
static __always_inline int
steer_quoted(struct xdp_md *ctx, struct address saddr, struct address daddr, const struct ports *ports,
	     const void *end, __u32 queue)
{
	struct flow flow = { .saddr = daddr, .daddr = saddr };

	if ((const void *)(ports + 1) > end)
		return pass(TPA_PASS_OTHER);
	flow.sport = ports->dest;
	flow.dport = ports->source;
	return steer_flow(ctx, &flow, 0, queue);
}

static __always_inline int
steer_icmp(struct xdp_md *ctx, const struct iphdr *ip, const void *end, __u32 queue)
{
	const struct icmp_error *icmp = (const void *)ip + ip->ihl * 4;
	const struct iphdr *quoted = &icmp->quoted;

	if ((const void *)(icmp + 1) > end)
		return pass(TPA_PASS_OTHER);
	if (icmp->type != ICMP_DEST_UNREACH && icmp->type != ICMP_TIME_EXCEEDED &&
	    icmp->type != ICMP_PARAMETER_PROBLEM)
		return pass(TPA_PASS_OTHER);
	if (quoted->ihl < 5 || quoted->protocol != IPPROTO_TCP || quoted->saddr != ip->daddr)
		return pass(TPA_PASS_OTHER);
	return steer_quoted(ctx, v4(quoted->saddr), v4(quoted->daddr), (const void *)quoted + quoted->ihl * 4,
			    end, queue);
}

/* TPA_SHARED or TPA_OWN for an address that the stack serves; 0: none. */
static __always_inline __u32
kind_of(struct address address, __u32 queue)
{
	struct tpa_address key = { .queue = queue };
	const __u32 *value;

	__builtin_memcpy(key.address, &address, sizeof(key.address));
	value = bpf_map_lookup_elem(&addresses, &key);
	return value ? *value : 0;
}

static __always_inline int
steer_ipv4(struct xdp_md *ctx, const struct iphdr *ip, const void *end, __u32 queue)
{
	__u32 kind;

	if ((const void *)(ip + 1) > end || ip->ihl < 5)
		return pass(TPA_PASS_OTHER);
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_ICMP)
		return pass(TPA_PASS_OTHER);
	kind = kind_of(v4(ip->daddr), queue);
	if (!kind)
		return pass(TPA_PASS_OTHER);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
		return pass(TPA_PASS_FRAGMENT);
	if (kind == TPA_OWN)
		return redirect(queue, TPA_REDIRECT_OWN);
	if (ip->protocol == IPPROTO_ICMP)
		return steer_icmp(ctx, ip, end, queue);
	return steer_tcp(ctx, v4(ip->saddr), v4(ip->daddr), (const void *)ip + ip->ihl * 4, end, queue);
}

/* ICMPv6 (RFC 4443), and a neighbour solicitation (RFC 4861 4.3). */
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMETER_PROBLEM 4
#define ICMPV6_NEIGHBOUR_SOLICITATION 135

struct icmpv6_error {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
	struct ipv6hdr quoted;
};

struct neighbour_solicitation {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 reserved;
	struct in6_addr target;
};

static __always_inline int
steer_icmpv6(struct xdp_md *ctx, const struct ipv6hdr *ip, const void *end, __u32 queue)
{
	const struct icmpv6_error *icmp = (const void *)(ip + 1);
	const struct ipv6hdr *quoted = &icmp->quoted;
	struct address saddr, daddr;

	if ((const void *)(icmp + 1) > end)
		return pass(TPA_PASS_OTHER);
	if (icmp->type < ICMPV6_DEST_UNREACH || icmp->type > ICMPV6_PARAMETER_PROBLEM)
		return pass(TPA_PASS_OTHER);
	saddr = v6(&quoted->saddr);
	daddr = v6(&ip->daddr);
	if (quoted->nexthdr != IPPROTO_TCP || !is_same(&saddr, &daddr))
		return pass(TPA_PASS_OTHER);
	return steer_quoted(ctx, saddr, v6(&quoted->daddr), (const void *)(quoted + 1), end, queue);
}

/* A question for an own address goes to a group of hosts. */
static __always_inline int
asks_for_own(const struct ipv6hdr *ip, const void *end, __u32 queue)
{
	const struct neighbour_solicitation *question = (const void *)(ip + 1);

	if ((const void *)(question + 1) > end || question->type != ICMPV6_NEIGHBOUR_SOLICITATION)
		return 0;
	return kind_of(v6(&question->target), queue) == TPA_OWN;
}

static __always_inline int
steer_ipv6(struct xdp_md *ctx, const struct ipv6hdr *ip, const void *end, __u32 queue)
{
	__u32 kind;

	if ((const void *)(ip + 1) > end)
		return pass(TPA_PASS_OTHER);
	if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_ICMPV6)
		return pass(TPA_PASS_OTHER);
	if (ip->nexthdr == IPPROTO_ICMPV6 && asks_for_own(ip, end, queue))
		return redirect(queue, TPA_REDIRECT_OWN);
	kind = kind_of(v6(&ip->daddr), queue);
	if (!kind)
		return pass(TPA_PASS_OTHER);
	if (kind == TPA_OWN)
		return redirect(queue, TPA_REDIRECT_OWN);
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return steer_icmpv6(ctx, ip, end, queue);
	return steer_tcp(ctx, v6(&ip->saddr), v6(&ip->daddr), (const void *)(ip + 1), end, queue);
}

/* ARP for Ethernet and IPv4 (RFC 826). */
struct arp_packet {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed));

static __always_inline int
steer_arp(const struct arp_packet *arp, const void *end, __u32 queue)
{
	if ((const void *)(arp + 1) > end || arp->protocol_type != bpf_htons(ETH_P_IP))
		return pass(TPA_PASS_OTHER);
	if (kind_of(v4(arp->target_ip), queue) == TPA_OWN)
		return redirect(queue, TPA_REDIRECT_OWN);
	return pass(TPA_PASS_OTHER);
}

/* Whether the owner has said whose program this is. (A map that the program
 * does not use could not be found through it.) */
static __always_inline int
is_described(void)
{
	__u32 zero = 0;
	const struct tpa_instance *self = bpf_map_lookup_elem(&instance, &zero);

	return self && self->abi == TPA_STEER_ABI;
}

SEC("xdp")
int
tpa_steer(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;
	__u32 queue = ctx->rx_queue_index;

	if ((const void *)(eth + 1) > end || queue >= TPA_MAX_QUEUES || !is_described())
		return pass(TPA_PASS_OTHER);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return steer_ipv4(ctx, (const void *)(eth + 1), end, queue);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return steer_ipv6(ctx, (const void *)(eth + 1), end, queue);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return steer_arp((const void *)(eth + 1), end, queue);
	return pass(TPA_PASS_OTHER);
}
