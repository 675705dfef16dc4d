/* Preloaded before a program: counts its calls about files below one folder (and its connects), and
 * lets the n-th fail; or steps the clock of the day.  What to do is in a mapped file that the whole
 * tree of processes shares, so that a child's calls count too; benchmarks/failing.py has the other
 * side of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, SYNC, RENAME, UNLINK, MKDIR, LOCK, TRUNCATE, CONNECT };

static const char *const NAMES[] = {"open",   "read",  "write", "sync",     "rename",
                                    "unlink", "mkdir", "lock",  "truncate", "connect"};

struct orders {
    _Atomic int64_t kinds;   /* a bit for each kind that counts */
    _Atomic int64_t at;      /* this one fails, from 1; 0: none */
    _Atomic int64_t error;   /* with this errno; SHORT: half of it is written */
    _Atomic int64_t seen;    /* how many there were */
    _Atomic int64_t failed;  /* how many were made to fail */
    _Atomic int64_t step_ns; /* by which the clock of the day is off … */
    _Atomic int64_t step_at; /* … from this monotonic nanosecond on; 0: never */
    char under[1024];        /* the folder, with its slash */
    char what[1024];         /* the call that failed */
};
#define SHORT (-1)

static struct orders *orders;

__attribute__((constructor)) static void map_orders(void)
{
    const char *path = getenv("FAILING_CALLS");
    if (path == NULL) {
        return;
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    void *mapped = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    orders = mapped == MAP_FAILED ? NULL : mapped;
    syscall(SYS_close, fd);
}

/* What a descriptor is of, into `out`; false where it has no path. */
static int path_of(int fd, char *out, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, size - 1);
    if (n <= 0 || out[0] != '/') {
        return 0;
    }
    out[n] = 0;
    return 1;
}

static int counts(int kind, const char *path)
{
    size_t length = strlen(orders->under);
    return (atomic_load(&orders->kinds) >> kind & 1) &&
           (path == NULL || strncmp(path, orders->under, length) == 0 ||
            (strlen(path) + 1 == length && strncmp(path, orders->under, length - 1) == 0));
}

/* Whether this call is the one that fails: then errno is set. */
static int fails(int kind, const char *path)
{
    int before = errno;
    if (orders == NULL || !counts(kind, path)) {
        errno = before;
        return 0;
    }
    int64_t number = atomic_fetch_add(&orders->seen, 1) + 1;
    errno = before;
    if (number != atomic_load(&orders->at)) {
        return 0;
    }
    atomic_fetch_add(&orders->failed, 1);
    snprintf(orders->what, sizeof orders->what, "%s %s", NAMES[kind], path == NULL ? "" : path);
    errno = (int)atomic_load(&orders->error);
    return 1;
}

static int fails_at(int kind, int folder, const char *path)
{
    char whole[2 * PATH_MAX + 2];
    int before = errno;
    if (orders == NULL || path == NULL) {
        return 0;
    }
    if (path[0] == '/') {
        return fails(kind, path);
    }
    if (folder == AT_FDCWD ? getcwd(whole, PATH_MAX) == NULL : !path_of(folder, whole, PATH_MAX)) {
        errno = before;
        return 0;
    }
    size_t n = strlen(whole);
    snprintf(whole + n, sizeof whole - n, "/%s", path);
    errno = before;
    return fails(kind, whole);
}

static int fails_of(int kind, int fd)
{
    char path[PATH_MAX];
    int before = errno;
    if (orders == NULL || !(atomic_load(&orders->kinds) >> kind & 1) ||
        !path_of(fd, path, sizeof path)) {
        errno = before;
        return 0;
    }
    errno = before;
    return fails(kind, path);
}

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    return fails_at(OPEN, folder, path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE                                                                                       \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode = va_arg(more, mode_t);                                                               \
        va_end(more);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    MODE return opened(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE return opened(folder, path, flags, mode);
}

/* How many bytes may be written: half of them where a write is to be short, none (-1) where it
 * fails. */
static ssize_t allowed(int fd, size_t n)
{
    if (!fails_of(WRITE, fd)) {
        return (ssize_t)n;
    }
    if (atomic_load(&orders->error) == SHORT) {
        return (ssize_t)(n > 1 ? n / 2 : n);
    }
    return -1;
}

ssize_t write(int fd, const void *data, size_t n)
{
    ssize_t some = allowed(fd, n);
    return some < 0 ? -1 : syscall(SYS_write, fd, data, some);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    ssize_t some = allowed(fd, n);
    return some < 0 ? -1 : syscall(SYS_pwrite64, fd, data, some, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    return pwrite(fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *pieces, int n)
{
    return allowed(fd, 0) < 0 ? -1 : syscall(SYS_writev, fd, pieces, n);
}

ssize_t read(int fd, void *data, size_t n)
{
    return fails_of(READ, fd) ? -1 : syscall(SYS_read, fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    return fails_of(READ, fd) ? -1 : syscall(SYS_pread64, fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
    return pread(fd, data, n, at);
}

int fsync(int fd)
{
    return fails_of(SYNC, fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails_of(SYNC, fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
    return fails_of(TRUNCATE, fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    if (allowed(fd, 0) < 0) {
        return errno;
    }
    return syscall(SYS_fallocate, fd, 0, at, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return posix_fallocate(fd, at, size);
}

int rename(const char *from, const char *to)
{
    return fails_at(RENAME, AT_FDCWD, to)
               ? -1
               : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return fails_at(RENAME, to_folder, to)
               ? -1
               : (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
}

int link(const char *from, const char *to)
{
    return fails_at(RENAME, AT_FDCWD, to)
               ? -1
               : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    return fails_at(RENAME, to_folder, to)
               ? -1
               : (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int unlink(const char *path)
{
    return fails_at(UNLINK, AT_FDCWD, path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    return fails_at(UNLINK, folder, path) ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}

int rmdir(const char *path)
{
    return fails_at(UNLINK, AT_FDCWD, path)
               ? -1
               : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
    return fails_at(MKDIR, AT_FDCWD, path) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    return fails_at(MKDIR, folder, path) ? -1 : (int)syscall(SYS_mkdirat, folder, path, mode);
}

int flock(int fd, int operation)
{
    return fails_of(LOCK, fd) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

static int controlled(int fd, int command, void *argument)
{
    int locks = command == F_SETLK || command == F_SETLKW;
    return locks && fails_of(LOCK, fd) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);
}

int fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return controlled(fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return controlled(fd, command, argument);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (address->sa_family != AF_UNIX && fails(CONNECT, NULL)) {
        return -1;
    }
    return (int)syscall(SYS_connect, fd, address, size);
}

/* The clock of the day from a moment on; every other clock is as it is. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*_Atomic original)(clockid_t, struct timespec *);
    int (*get)(clockid_t, struct timespec *) = atomic_load(&original);
    if (get == NULL) {
        *(void **)&get = dlsym(RTLD_NEXT, "clock_gettime");
        atomic_store(&original, get);
    }
    int code = get(clock, now);
    if (code != 0 || clock != CLOCK_REALTIME || orders == NULL) {
        return code;
    }
    int64_t from = atomic_load(&orders->step_at);
    struct timespec monotonic;
    if (from == 0 || get(CLOCK_MONOTONIC, &monotonic) != 0 ||
        monotonic.tv_sec * INT64_C(1000000000) + monotonic.tv_nsec < from) {
        return code;
    }
    int64_t stepped =
        now->tv_sec * INT64_C(1000000000) + now->tv_nsec + atomic_load(&orders->step_ns);
    now->tv_sec = stepped / INT64_C(1000000000);
    now->tv_nsec = stepped % INT64_C(1000000000);
    return 0;
}
