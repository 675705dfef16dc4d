/* Where an engine connects to.  The GIL is held on entry and on return. */
#ifndef PFS_PY_WIRE_ADDRESS_H
#define PFS_PY_WIRE_ADDRESS_H

#include "pfs_py.h"
#include "pfs_wire.h"

#include <netdb.h>

/* Raises this process's soft limit of open files as far as the connections need and may be; -1 with
 * OSError when the hard one is too low. */
int pfs_py_allow_files(size_t connections);

/* The host's addresses, to be freed with freeaddrinfo; NULL with OSError or ValueError. */
struct addrinfo *pfs_py_resolve(const char *host, int port);

/* At most PFS_WIRE_MOST_ADDRESSES of them, in their order, but first the one that answers: each
 * connection would wait for those before it.  Returns how many. */
size_t pfs_py_list_addresses(const struct addrinfo *found, pfs_wire_address *all);

#endif
