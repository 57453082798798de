/* What the C files of libtpa_dpdk.so share. */
#ifndef TPA_DPDK_INTERNAL_H
#define TPA_DPDK_INTERNAL_H

#include <rte_lcore.h>

#include "table.h"

/* eal.c */
void tpa_set_log(tpa_log_fn sink, uint32_t level);
int tpa_eal_init(int argc, char **argv);
/* One line for the log, end of line or not. */
void tpa_log(uint32_t level, const char *text, size_t len);
/* Keeps a mapping out of forked children. */
void tpa_keep_from_fork(const void *address, size_t len);

/* pool.c */
struct rte_mempool;
int tpa_pool_create(const char *name, uint32_t count, uint32_t room, uint32_t flags,
		    struct tpa_pool **pool);
void tpa_pool_free(struct tpa_pool *pool);
uint32_t tpa_pool_available(const struct tpa_pool *pool);
bool tpa_alloc(struct tpa_pool *pool, struct tpa_frame *frame);
void tpa_free(void *mbuf);
bool tpa_pool_owns(const struct tpa_pool *pool, const void *mbuf);
struct rte_mempool *tpa_pool_mempool(const struct tpa_pool *pool);

/* xsk.c */
int tpa_xsk_find(const char *interface, uint32_t queue, struct tpa_xsk *xsk);
int tpa_xsk_error(void);
/* Sends what libxdp and libbpf print to the log. */
void tpa_xsk_set_log(void);
int tpa_xsk_probe(const char *interface, uint32_t queue);

/* flow.c */
int tpa_flow_isolate(uint16_t port, bool on);
int tpa_flow_create(uint16_t port, const struct tpa_flow *flow, void **handle, char *text,
		    size_t text_len);
int tpa_flow_destroy(uint16_t port, void *handle);

/* The lcore number under which drivers run on behalf of a queue: the mempool
 * cache of this number in the queue's own pool is the queue owner's, whatever
 * thread that is. EAL runs with lcore 0 alone. */
#define TPA_LCORE 1

static inline uint32_t
tpa_enter_lcore(void)
{
	uint32_t lcore = RTE_PER_LCORE(_lcore_id);

	RTE_PER_LCORE(_lcore_id) = TPA_LCORE;
	return lcore;
}

static inline void
tpa_leave_lcore(uint32_t lcore)
{
	RTE_PER_LCORE(_lcore_id) = lcore;
}

#endif
