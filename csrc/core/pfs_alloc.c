#include "pfs_alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void *libc_resize(void *context, void *block, size_t size)
{
    (void)context;
    return realloc(block, size);
}

static void libc_release(void *context, void *block)
{
    (void)context;
    free(block);
}

static const pfs_alloc LIBC = {libc_alloc, libc_resize, libc_release, NULL};

const pfs_alloc *pfs_alloc_libc(void)
{
    return &LIBC;
}

/* The product, or 0 when it overflows. */
static size_t product(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return 0;
    }
    return count * size;
}

void *pfs_alloc_array(const pfs_alloc *alloc, size_t count, size_t size)
{
    size_t bytes = product(count, size);
    return bytes == 0 ? NULL : alloc->alloc(alloc->context, bytes);
}

void *pfs_alloc_zeroed(const pfs_alloc *alloc, size_t count, size_t size)
{
    void *block = pfs_alloc_array(alloc, count, size);
    if (block != NULL) {
        memset(block, 0, count * size);
    }
    return block;
}

void *pfs_alloc_resize(const pfs_alloc *alloc, void *block, size_t count, size_t size)
{
    size_t bytes = product(count, size);
    return bytes == 0 ? NULL : alloc->resize(alloc->context, block, bytes);
}
