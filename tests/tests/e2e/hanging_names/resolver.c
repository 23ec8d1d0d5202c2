/* A resolver that never answers for names that begin with "hangs", as if no name server were
   reachable. Preloaded into the gateway. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    while (name && strncmp(name, "hangs", 5) == 0)
        pause();
    lookup *of_system = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    return of_system(name, service, hints, found);
}
