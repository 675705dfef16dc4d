/* Preloaded before SQLite: counts the syncs of files, and those of files that had grown since their
 * last one. */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 4096

long counted_syncs;
long counted_grown;
static off_t sizes[FILES];

static void note(int fd)
{
    struct stat found;
    counted_syncs++;
    if (fd >= 0 && fd < FILES && fstat(fd, &found) == 0) {
        counted_grown += found.st_size > sizes[fd];
        sizes[fd] = found.st_size;
    }
}

int fsync(int fd)
{
    note(fd);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    note(fd);
    return (int)syscall(SYS_fdatasync, fd);
}
