/* Ports, their queues, the bursts, and the table itself. */
#include <errno.h>
#include <string.h>

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_version.h>

#include "internal.h"

#define MAX_BURST 64

#define TX_TCP_CHECKSUM (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
#define RX_CHECKSUM (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)

static int
device_probe(const char *devargs)
{
	return rte_dev_probe(devargs);
}

static int
port_of(const char *device, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(device, port);
}

static int
port_device_remove(uint16_t port)
{
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	return result != 0 ? result : rte_dev_remove(info.device);
}

static int
port_info(uint16_t port, struct tpa_port_info *out)
{
	struct rte_ether_addr mac;
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	if (result != 0)
		return result;
	memset(out, 0, sizeof(*out));
	result = rte_eth_macaddr_get(port, &mac);
	if (result != 0)
		return result;
	memcpy(out->mac, mac.addr_bytes, sizeof(out->mac));
	result = rte_eth_dev_get_mtu(port, &out->mtu);
	if (result != 0)
		return result;
	out->max_mtu = info.max_mtu;
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	if ((info.tx_offload_capa & TX_TCP_CHECKSUM) == TX_TCP_CHECKSUM)
		out->capabilities |= TPA_PORT_TX_TCP_CHECKSUM;
	if ((info.rx_offload_capa & RX_CHECKSUM) == RX_CHECKSUM)
		out->capabilities |= TPA_PORT_RX_CHECKSUM;
	if (info.driver_name != NULL)
		strncpy(out->driver, info.driver_name, sizeof(out->driver) - 1);
	return 0;
}

static int
port_stats(uint16_t port, struct tpa_port_stats *out)
{
	struct rte_eth_stats stats;
	int result = rte_eth_stats_get(port, &stats);

	if (result != 0)
		return result;
	out->rx_frames = stats.ipackets;
	out->tx_frames = stats.opackets;
	out->rx_missed = stats.imissed + stats.rx_nombuf;
	out->rx_errors = stats.ierrors;
	return 0;
}

static int
port_configure(uint16_t port, uint16_t rx, uint16_t tx, uint16_t mtu, uint32_t capabilities,
	       bool interrupts)
{
	struct rte_eth_conf conf = { 0 };

	conf.rxmode.mtu = mtu;
	if (rx > 1 && (capabilities & TPA_PORT_RX_CHECKSUM))
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	if (capabilities & TPA_PORT_RX_CHECKSUM)
		conf.rxmode.offloads |= RX_CHECKSUM;
	if (capabilities & TPA_PORT_TX_TCP_CHECKSUM)
		conf.txmode.offloads |= TX_TCP_CHECKSUM;
	conf.intr_conf.rxq = interrupts;
	return rte_eth_dev_configure(port, rx, tx, &conf);
}

static int
rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct tpa_pool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, SOCKET_ID_ANY, NULL,
				      tpa_pool_mempool(pool));
}

static int
tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors)
{
	return rte_eth_tx_queue_setup(port, queue, descriptors, SOCKET_ID_ANY, NULL);
}

static bool
port_link(uint16_t port)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static int
rx_interrupt_fd(uint16_t port, uint16_t queue)
{
	int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue);

	return fd >= 0 ? fd : -ENOTSUP;
}

static int
rx_interrupt(uint16_t port, uint16_t queue, bool enable)
{
	return enable ? rte_eth_dev_rx_intr_enable(port, queue)
		      : rte_eth_dev_rx_intr_disable(port, queue);
}

/* Whether the ring that a driver would have the CPU watch has moved. */
static int
monitor_pending(uint16_t port, uint16_t queue)
{
	struct rte_power_monitor_cond cond;
	uint64_t value;
	int result = rte_eth_get_monitor_addr(port, queue, &cond);

	if (result != 0)
		return result;
	switch (cond.size) {
	case sizeof(uint8_t):
		value = *(volatile uint8_t *)cond.addr;
		break;
	case sizeof(uint16_t):
		value = *(volatile uint16_t *)cond.addr;
		break;
	case sizeof(uint32_t):
		value = *(volatile uint32_t *)cond.addr;
		break;
	default:
		value = *(volatile uint64_t *)cond.addr;
		break;
	}
	return cond.fn(value, cond.opaque) != 0;
}

static int
rx_pending(uint16_t port, uint16_t queue)
{
	int count = rte_eth_rx_queue_count(port, queue);

	return count >= 0 ? count > 0 : monitor_pending(port, queue);
}

/* The data path. */

static inline uint32_t
rx_flags(uint64_t offload)
{
	const uint64_t ip = offload & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	const uint64_t l4 = offload & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return TPA_FRAME_CHECKSUM_BAD;
	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD && l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return TPA_FRAME_CHECKSUM_GOOD;
	return 0;
}

static uint16_t
rx_burst(uint16_t port, uint16_t queue, struct tpa_frame *frames, uint16_t count)
{
	struct rte_mbuf *mbufs[MAX_BURST];
	uint32_t lcore = tpa_enter_lcore();
	uint16_t received = rte_eth_rx_burst(port, queue, mbufs, RTE_MIN(count, MAX_BURST));
	uint16_t used = 0;

	tpa_leave_lcore(lcore);
	for (uint16_t i = 0; i < received; i++) {
		struct rte_mbuf *mbuf = mbufs[i];

		rte_prefetch0(rte_pktmbuf_mtod(mbuf, void *));
		/* Scattering is never switched on. */
		if (unlikely(mbuf->nb_segs != 1)) {
			rte_pktmbuf_free(mbuf);
			continue;
		}
		frames[used++] = (struct tpa_frame){
			.data = rte_pktmbuf_mtod(mbuf, uint8_t *),
			.len = mbuf->data_len,
			.capacity = mbuf->data_len + rte_pktmbuf_tailroom(mbuf),
			.flags = rx_flags(mbuf->ol_flags),
			.mbuf = mbuf,
		};
	}
	return used;
}

static inline void
fill_mbuf(struct rte_mbuf *mbuf, const struct tpa_frame *frame)
{
	mbuf->data_len = (uint16_t)frame->len;
	mbuf->pkt_len = frame->len;
	mbuf->ol_flags = 0;
	if (frame->flags & TPA_FRAME_CHECKSUM_TX) {
		const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(
			mbuf, const struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));

		mbuf->l2_len = sizeof(struct rte_ether_hdr);
		mbuf->l3_len = rte_ipv4_hdr_len(ip);
		mbuf->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	}
}

static uint16_t
tx_burst(uint16_t port, uint16_t queue, const struct tpa_pool *pool,
	 const struct tpa_frame *frames, uint16_t count)
{
	const struct rte_mempool *mempool = tpa_pool_mempool(pool);
	struct rte_mbuf *mbufs[MAX_BURST];
	uint16_t ready = 0, sent;
	uint32_t lcore;

	count = RTE_MIN(count, MAX_BURST);
	while (ready < count && ((struct rte_mbuf *)frames[ready].mbuf)->pool == mempool) {
		mbufs[ready] = frames[ready].mbuf;
		fill_mbuf(mbufs[ready], &frames[ready]);
		ready++;
	}
	lcore = tpa_enter_lcore();
	sent = rte_eth_tx_burst(port, queue, mbufs, ready);
	tpa_leave_lcore(lcore);
	return sent;
}

static const struct tpa_dpdk table = {
	.abi = TPA_DPDK_ABI,
	.size = sizeof(struct tpa_dpdk),
	.version = rte_version,
	.set_log = tpa_set_log,
	.eal_init = tpa_eal_init,
	.vdev_create = rte_vdev_init,
	.vdev_remove = rte_vdev_uninit,
	.device_probe = device_probe,
	.port_of = port_of,
	.port_device_remove = port_device_remove,
	.port_info = port_info,
	.port_stats = port_stats,
	.port_configure = port_configure,
	.rx_queue_setup = rx_queue_setup,
	.tx_queue_setup = tx_queue_setup,
	.port_start = rte_eth_dev_start,
	.port_stop = rte_eth_dev_stop,
	.port_link = port_link,
	.rx_interrupt_fd = rx_interrupt_fd,
	.rx_interrupt = rx_interrupt,
	.rx_pending = rx_pending,
	.pool_create = tpa_pool_create,
	.pool_free = tpa_pool_free,
	.pool_available = tpa_pool_available,
	.alloc = tpa_alloc,
	.free = tpa_free,
	.rx_burst = rx_burst,
	.tx_burst = tx_burst,
	.pool_owns = tpa_pool_owns,
	.xsk = tpa_xsk_find,
	.xsk_probe = tpa_xsk_probe,
	.xsk_error = tpa_xsk_error,
	.flow_isolate = tpa_flow_isolate,
	.flow_create = tpa_flow_create,
	.flow_destroy = tpa_flow_destroy,
};

__attribute__((visibility("default"))) const struct tpa_dpdk *
tpa_dpdk_table(void)
{
	return &table;
}
