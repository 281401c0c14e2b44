/* Counts the calls that change files, and ends the process at a chosen one.

   Preloaded, it stands before the C library for Python and for every library that the
   process loads (GDAL, HDF5, TensorStore, Arrow). `killpoints_arm(n)` begins to count;
   at the n-th call the process kills itself, before the call is made. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls = -1; /* -1: not armed */
static long deadline = 0;

void killpoints_arm(long n) {
  deadline = n;
  atomic_store(&calls, 0);
}

long killpoints_count(void) { return atomic_load(&calls); }

static void step(void) {
  if (atomic_load(&calls) < 0) return;
  long now = atomic_fetch_add(&calls, 1) + 1;
  if (deadline > 0 && now == deadline) {
    kill(getpid(), SIGKILL);
    pause();
  }
}

static int regular(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

static int writes(int flags) { return flags & (O_CREAT | O_TRUNC); }

#define NEXT(name) \
  static __typeof__(name) *next; \
  if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    NEXT(name); \
    if (writes(flags)) step(); \
    return next(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    NEXT(name); \
    if (writes(flags)) step(); \
    return next(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    NEXT(name); \
    if (strpbrk(mode, "wa+")) step(); \
    return next(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_FILE(type, name, declared, passed) \
  type name declared { \
    NEXT(name); \
    if (regular(fd)) step(); \
    return next passed; \
  }
ON_FILE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_FILE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FILE(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_FILE(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FILE(int, fsync, (int fd), (fd))
ON_FILE(int, fdatasync, (int fd), (fd))
ON_FILE(int, ftruncate, (int fd, off_t size), (fd, size))
ON_FILE(int, ftruncate64, (int fd, off64_t size), (fd, size))

#define ON_PATH(name, declared, passed) \
  int name declared { \
    NEXT(name); \
    step(); \
    return next passed; \
  }
ON_PATH(rename, (const char *from, const char *to), (from, to))
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
ON_PATH(rmdir, (const char *path), (path))
