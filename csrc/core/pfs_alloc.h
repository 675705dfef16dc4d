/* The allocator that every object of the core is given when it is made.
 *
 * There is no global allocator: a test hands in one that fails on the nth call, the binding hands
 * in one that Python's tracemalloc sees.  The pointed-to allocator must outlive every object made
 * with it.  Thread rule: an allocator may be called from any thread that uses its objects.
 */
#ifndef PFS_ALLOC_H
#define PFS_ALLOC_H

#include <stddef.h>

typedef struct pfs_alloc {
    /* Returns memory for `size` > 0 bytes aligned for any object, or NULL. */
    void *(*alloc)(void *context, size_t size);
    /* As realloc for `size` > 0: on NULL the old block is intact and still owned. */
    void *(*resize)(void *context, void *block, size_t size);
    /* Releases a block of alloc or resize; NULL is allowed. */
    void (*release)(void *context, void *block);
    void *context;
} pfs_alloc;

/* The C library's malloc, realloc and free.  Never NULL; static storage. */
const pfs_alloc *pfs_alloc_libc(void);

/* NULL when count * size overflows or is 0, or when the allocator has no memory. */
void *pfs_alloc_array(const pfs_alloc *alloc, size_t count, size_t size);

/* As pfs_alloc_array, with every byte 0. */
void *pfs_alloc_zeroed(const pfs_alloc *alloc, size_t count, size_t size);

/* NULL when count * size overflows or is 0, or when the allocator has no memory: then `block` is
 * intact and still owned by the caller. */
void *pfs_alloc_resize(const pfs_alloc *alloc, void *block, size_t count, size_t size);

static inline void pfs_alloc_release(const pfs_alloc *alloc, void *block)
{
    alloc->release(alloc->context, block);
}

#endif
