/* Flow rules: which frames of a shared port come to our queues. */
#include <errno.h>
#include <stdio.h>

#include <rte_ethdev.h>
#include <rte_flow.h>

#include "internal.h"

static void
explain(const struct rte_flow_error *error, char *text, size_t len)
{
	(void)snprintf(text, len, "%s", error->message != NULL ? error->message : "no reason given");
}

int
tpa_flow_isolate(uint16_t port, bool on)
{
	struct rte_flow_error error;

	return rte_flow_isolate(port, on, &error);
}

int
tpa_flow_create(uint16_t port, const struct tpa_flow *flow, void **handle, char *text,
		size_t text_len)
{
	const struct rte_flow_attr attr = { .ingress = 1 };
	const struct rte_flow_item_ipv4 ip = { .hdr.dst_addr = flow->dst_ip };
	const struct rte_flow_item_ipv4 ip_mask = { .hdr.dst_addr = UINT32_MAX };
	const struct rte_flow_item_tcp tcp = { .hdr.dst_port = flow->dst_port };
	const struct rte_flow_item_tcp tcp_mask = { .hdr.dst_port = flow->dst_port_mask };
	const struct rte_flow_item pattern[] = {
		{ .type = RTE_FLOW_ITEM_TYPE_ETH },
		{ .type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &ip, .mask = &ip_mask },
		{ .type = RTE_FLOW_ITEM_TYPE_TCP, .spec = &tcp, .mask = &tcp_mask },
		{ .type = RTE_FLOW_ITEM_TYPE_END },
	};
	const struct rte_flow_action_queue queue = { .index = flow->queues[0] };
	const struct rte_flow_action_rss rss = {
		.types = RTE_ETH_RSS_NONFRAG_IPV4_TCP,
		.queue = flow->queues,
		.queue_num = flow->queue_count,
	};
	const struct rte_flow_action actions[] = {
		flow->queue_count == 1
			? (struct rte_flow_action){ RTE_FLOW_ACTION_TYPE_QUEUE, &queue }
			: (struct rte_flow_action){ RTE_FLOW_ACTION_TYPE_RSS, &rss },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_error error = { 0 };

	*handle = rte_flow_create(port, &attr, pattern, actions, &error);
	if (*handle != NULL)
		return 0;
	explain(&error, text, text_len);
	return -rte_errno;
}

int
tpa_flow_destroy(uint16_t port, void *handle)
{
	struct rte_flow_error error;

	return rte_flow_destroy(port, handle, &error);
}
