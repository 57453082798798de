/*
 * Pools of packet buffers.
 *
 * A pool is an rte_mempool with a small stack in front for what is allocated
 * and freed one at a time, wherever that happens: a buffer may be freed by any
 * thread, and threads that EAL does not know have no mempool cache. The stack
 * has a lock that is only ever tried, so nobody waits; who does not get it uses
 * the mempool itself.
 */
#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "internal.h"

#define STACK_SIZE 128u
#define STACK_BULK 64u
#define CACHE_SIZE 256u

struct tpa_pool {
	struct rte_mempool *mempool;
	bool busy;
	uint32_t depth;
	void *stack[STACK_SIZE];
};

/* The mempool's private data: what rte_pktmbuf expects, then ours. */
struct pool_private {
	struct rte_pktmbuf_pool_private pktmbuf;
	struct tpa_pool *pool;
};

static inline bool
try_lock(struct tpa_pool *pool)
{
	return !__atomic_exchange_n(&pool->busy, true, __ATOMIC_ACQUIRE);
}

static inline void
unlock(struct tpa_pool *pool)
{
	__atomic_store_n(&pool->busy, false, __ATOMIC_RELEASE);
}

static int
populate(struct tpa_pool *pool, uint32_t room, uint32_t flags)
{
	struct rte_mempool *mempool = pool->mempool;
	struct rte_pktmbuf_pool_private pktmbuf = {
		.mbuf_data_room_size = (uint16_t)room,
	};
	int result;

	result = rte_mempool_set_ops_byname(mempool, rte_mbuf_best_mempool_ops(), NULL);
	if (result != 0)
		return result;
	rte_pktmbuf_pool_init(mempool, &pktmbuf);
	((struct pool_private *)rte_mempool_get_priv(mempool))->pool = pool;
	result = rte_mempool_populate_default(mempool);
	if (result < 0)
		return result;
	/* The AF_XDP driver registers the first chunk alone with the kernel. */
	if ((flags & TPA_POOL_DENSE) && mempool->nb_mem_chunks != 1)
		return -ENOMEM;
	rte_mempool_obj_iter(mempool, rte_pktmbuf_init, NULL);
	return 0;
}

int
tpa_pool_create(const char *name, uint32_t count, uint32_t room, uint32_t flags,
		struct tpa_pool **out)
{
	/* Dense: no padding that keeps objects inside pages, none for memory
	 * channels: the AF_XDP driver counts with objects side by side. */
	unsigned int mempool_flags =
		(flags & TPA_POOL_DENSE) ? RTE_MEMPOOL_F_NO_IOVA_CONTIG | RTE_MEMPOOL_F_NO_SPREAD : 0;
	struct tpa_pool *pool;
	int result;

	room += RTE_PKTMBUF_HEADROOM;
	if (room > UINT16_MAX)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return -ENOMEM;
	pool->mempool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + room,
						 RTE_MIN(CACHE_SIZE, count / 4),
						 sizeof(struct pool_private), SOCKET_ID_ANY,
						 mempool_flags);
	if (pool->mempool == NULL) {
		result = -rte_errno;
		free(pool);
		return result;
	}
	result = populate(pool, room, flags);
	if (result != 0) {
		tpa_pool_free(pool);
		return result;
	}
	*out = pool;
	return 0;
}

void
tpa_pool_free(struct tpa_pool *pool)
{
	rte_mempool_free(pool->mempool);
	free(pool);
}

uint32_t
tpa_pool_available(const struct tpa_pool *pool)
{
	return rte_mempool_avail_count(pool->mempool) +
	       __atomic_load_n(&pool->depth, __ATOMIC_RELAXED);
}

bool
tpa_pool_owns(const struct tpa_pool *pool, const void *mbuf)
{
	return ((const struct rte_mbuf *)mbuf)->pool == pool->mempool;
}

struct rte_mempool *
tpa_pool_mempool(const struct tpa_pool *pool)
{
	return pool->mempool;
}

/* Fills the empty stack, with what the driver freed last; under the lock. */
static void
refill(struct tpa_pool *pool)
{
	uint32_t lcore = tpa_enter_lcore();

	if (rte_mempool_get_bulk(pool->mempool, pool->stack, STACK_BULK) == 0)
		pool->depth = STACK_BULK;
	else if (rte_mempool_get(pool->mempool, &pool->stack[0]) == 0)
		pool->depth = 1;
	tpa_leave_lcore(lcore);
}

/* Takes a buffer off the stack; under the lock. */
static void *
pop(struct tpa_pool *pool)
{
	if (pool->depth == 0)
		refill(pool);
	return pool->depth == 0 ? NULL : pool->stack[--pool->depth];
}

/* Puts a buffer on the stack, the older half given back when full; under the
 * lock. */
static void
push(struct tpa_pool *pool, void *mbuf)
{
	if (pool->depth == STACK_SIZE) {
		rte_mempool_put_bulk(pool->mempool, pool->stack, STACK_BULK);
		pool->depth -= STACK_BULK;
		rte_memcpy(pool->stack, &pool->stack[STACK_BULK], STACK_BULK * sizeof(void *));
	}
	pool->stack[pool->depth++] = mbuf;
}

bool
tpa_alloc(struct tpa_pool *pool, struct tpa_frame *frame)
{
	struct rte_mbuf *mbuf;
	void *object = NULL;

	if (try_lock(pool)) {
		object = pop(pool);
		unlock(pool);
	} else if (rte_mempool_get(pool->mempool, &object) != 0) {
		object = NULL;
	}
	if (object == NULL)
		return false;
	mbuf = object;
	rte_pktmbuf_reset(mbuf);
	frame->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
	frame->len = 0;
	frame->capacity = rte_pktmbuf_tailroom(mbuf);
	frame->flags = 0;
	frame->mbuf = mbuf;
	return true;
}

void
tpa_free(void *object)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_prefree_seg(object);
	struct tpa_pool *pool;

	if (mbuf == NULL)
		return;
	pool = ((struct pool_private *)rte_mempool_get_priv(mbuf->pool))->pool;
	if (try_lock(pool)) {
		push(pool, mbuf);
		unlock(pool);
	} else {
		rte_mempool_put(mbuf->pool, mbuf);
	}
}
