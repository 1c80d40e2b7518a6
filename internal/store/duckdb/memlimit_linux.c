//go:build linux && cgo

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// Allocations of engines are refused when what they take together has grown beyond what they were granted. Nobody counts it
// as it is taken; it is what the process takes but for files and for what Go tells that it and others take. The linker puts
// these functions between the engines and the C library (--wrap). Go's own allocations in C, which end the process when they
// fail, are let through: those of threads that Go started, while they are not executing a query.

#define SMALL ((size_t)256)     // not counted
#define STEP ((size_t)1 << 20)  // a thread looks at the process after so many bytes

static _Atomic int64_t granted; // bytes that engines may take together, 0 for no limit
static _Atomic int64_t others;  // bytes that are not theirs
static _Atomic int statm = -1;
static long page;

static __thread size_t since;    // bytes since this thread last looked
static __thread int of_go;       // Go started this thread
static __thread int executing;   // it is executing a query

// watched opens what tells of the process, once.
static int watched(void) {
	int fd = atomic_load_explicit(&statm, memory_order_acquire);
	if (fd >= 0) return fd;
	page = sysconf(_SC_PAGESIZE);
	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	int none = -1;
	if (fd >= 0 && !atomic_compare_exchange_strong(&statm, &none, fd)) {
		close(fd);
		fd = none;
	}
	return fd;
}

int spoor_memory_grant(int64_t bytes) {
	if (watched() < 0) return -1;
	atomic_fetch_add(&granted, bytes);
	return 0;
}

int64_t spoor_memory_granted(void) { return atomic_load(&granted); }
void spoor_memory_others(int64_t bytes) { atomic_store(&others, bytes); }

// spoor_memory_taken is what the process takes that is not of files, -1 when unknown.
int64_t spoor_memory_taken(void) {
	char buf[96];
	int fd = watched();
	ssize_t got = fd < 0 ? -1 : pread(fd, buf, sizeof buf - 1, 0);
	if (got <= 0) return -1;
	buf[got] = 0;
	char *end;
	strtoll(buf, &end, 10);
	int64_t resident = strtoll(end, &end, 10);
	return (resident - strtoll(end, NULL, 10)) * page;
}

extern int duckdb_je_mallctl(const char *name, void *old, size_t *oldlen, void *new, size_t newlen) __attribute__((weak));

// spoor_memory_trim gives freed memory back to the system.
void spoor_memory_trim(void) {
	if (duckdb_je_mallctl) {
		duckdb_je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
		duckdb_je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); // 4096 are all arenas
	}
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

static int look(size_t n) {
	int64_t most = atomic_load_explicit(&granted, memory_order_relaxed);
	if (most == 0 || of_go && !executing) return 0;
	int64_t taken = spoor_memory_taken();
	if (taken < 0) return 0;
	most += atomic_load_explicit(&others, memory_order_relaxed);
	since = 0; // also when refused: the next STEP bytes are for handling the error
	return taken > most || n > (uint64_t)(most - taken);
}

static inline int refused(size_t n) {
	if (n < SMALL) return 0;
	if ((since += n) < STEP) return 0;
	if (since < n) since = n;
	return look(n);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t k, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real__Znwm(size_t n);
void *__real__Znam(size_t n);

void *__wrap_malloc(size_t n) { return refused(n) ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t k, size_t n) { return k && n <= SIZE_MAX / k && refused(k * n) ? NULL : __real_calloc(k, n); }
void *__wrap_realloc(void *p, size_t n) { return refused(n) ? NULL : __real_realloc(p, n); }

// Most of what the engine takes it takes from an allocator of its own, where it has one.
extern void *__real_duckdb_je_malloc(size_t n) __attribute__((weak));
extern void *__real_duckdb_je_realloc(void *p, size_t n) __attribute__((weak));
void *__wrap_duckdb_je_malloc(size_t n) { return refused(n) ? NULL : __real_duckdb_je_malloc(n); }
void *__wrap_duckdb_je_realloc(void *p, size_t n) { return refused(n) ? NULL : __real_duckdb_je_realloc(p, n); }

// operator new and new[]: asked for more than there can be, the real ones throw std::bad_alloc.
void *__wrap__Znwm(size_t n) { return __real__Znwm(refused(n) ? SIZE_MAX / 4 : n); }
void *__wrap__Znam(size_t n) { return __real__Znam(refused(n) ? SIZE_MAX / 4 : n); }

// Queries are executed here, partly on the thread of the caller. They are prepared elsewhere, where the engine does not
// survive that an allocation is refused; what preparing takes is bounded by the length of queries and by macros.go.
#define ENGINE(name, params, args)     \
	int __real_##name params;          \
	int __wrap_##name params {         \
		executing++;                   \
		int state = __real_##name args; \
		executing--;                   \
		return state;                  \
	}
ENGINE(duckdb_pending_prepared, (void *p, void *out), (p, out))
ENGINE(duckdb_execute_pending, (void *p, void *out), (p, out))

// Threads that are started from objects of the program itself are Go's; the engine's are started by the C++ library.
struct start {
	void *(*run)(void *);
	void *arg;
};

static void *go_thread(void *p) {
	struct start s = *(struct start *)p;
	free(p);
	of_go = 1;
	return s.run(s.arg);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
	struct start *s = __real_malloc(sizeof *s);
	if (!s) return __real_pthread_create(thread, attr, run, arg);
	s->run = run;
	s->arg = arg;
	int err = __real_pthread_create(thread, attr, go_thread, s);
	if (err) free(s);
	return err;
}

__attribute__((constructor)) static void first_thread(void) { of_go = 1; }
