/* Where the engine connects to, and whether it may. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_wire_address.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILES_BESIDE 64   /* descriptors that the rest of the process may want */
#define PROBE_MS     2000 /* for an address to answer, where a name has several */

int pfs_py_allow_files(size_t connections)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + FILES_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted) {
        return 0;
    }
    if (limit.rlim_max < wanted) {
        PyErr_Format(PyExc_OSError,
                     "%zu connections need %zu open files, and this process may have %zu; raise "
                     "the hard limit (ulimit -Hn %zu) or ask for fewer connections",
                     connections, (size_t)wanted, (size_t)limit.rlim_max, (size_t)wanted);
        return -1;
    }
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

struct addrinfo *pfs_py_resolve(const char *host, int port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char service[16];
    int error;
    if (port < 1 || port > 65535) {
        PyErr_Format(PyExc_ValueError, "port is %d; it must be 1 to 65535", port);
        return NULL;
    }
    (void)PyOS_snprintf(service, sizeof service, "%d", port);
    PyThreadState *thread = PyEval_SaveThread();
    error = getaddrinfo(host, service, &hints, &found);
    PyEval_RestoreThread(thread);
    if (error != 0) {
        PyErr_Format(PyExc_OSError, "%s has no address: %s", host, gai_strerror(error));
        return NULL;
    }
    return found;
}

/* Whether someone listens there: `localhost` has two addresses, and many servers only one. */
static bool answers(const pfs_wire_address *to)
{
    int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    bool found = connect(fd, (const struct sockaddr *)&to->at, to->length) == 0;
    if (!found && errno == EINPROGRESS && poll(&connected, 1, PROBE_MS) > 0) {
        found = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    close(fd);
    return found;
}

size_t pfs_py_list_addresses(const struct addrinfo *found, pfs_wire_address *all)
{
    size_t count = 0, first = 0;
    for (const struct addrinfo *at = found; at != NULL && count < PFS_WIRE_MOST_ADDRESSES;
         at = at->ai_next) {
        if (at->ai_addrlen <= sizeof all[count].at) {
            memcpy(&all[count].at, at->ai_addr, at->ai_addrlen);
            all[count++].length = at->ai_addrlen;
        }
    }
    if (count > 1) {
        PyThreadState *thread = PyEval_SaveThread();
        while (first < count && !answers(&all[first])) {
            first++;
        }
        PyEval_RestoreThread(thread);
    }
    for (size_t i = first < count ? first : 0; i > 0; i--) { /* to the front, the order kept */
        pfs_wire_address swapped = all[i];
        all[i] = all[i - 1];
        all[i - 1] = swapped;
    }
    return count;
}
