/*
 * Making sockets that listen: TCP ones that several workers can share a port with, and unix ones that survive
 * the file a dead process left behind.
 */
#include "entry/listening.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024            /* the kernel cuts it down to somaxconn */
#define SEND_BUFFER 131072      /* what the kernel may take for a client that does not read */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int switch_on(int descriptor, int level, int option, int value)
{
    return setsockopt(descriptor, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int resolve(const struct config_address *address, union address *ret, socklen_t *ret_size)
{
    char host[INET6_ADDRSTRLEN];
    union address it = {0};

    if (address->host.size >= sizeof(host))
        return -EINVAL;
    memcpy(host, address->host.data, address->host.size);
    host[address->host.size] = 0;
    if (inet_pton(AF_INET, host, &it.v4.sin_addr) == 1) {
        it.v4.sin_family = AF_INET;
        it.v4.sin_port = htons(address->port);
        *ret_size = sizeof(it.v4);
    } else if (inet_pton(AF_INET6, host, &it.v6.sin6_addr) == 1) {
        it.v6.sin6_family = AF_INET6;
        it.v6.sin6_port = htons(address->port);
        *ret_size = sizeof(it.v6);
    } else {
        return -EINVAL;
    }
    *ret = it;
    return 0;
}

/* The accepted sockets inherit no-delay and the size of the send buffer. */
static int tune(int descriptor, int family)
{
    int r = switch_on(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);

    if (r == 0 && family == AF_INET6)
        r = switch_on(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (r == 0)
        r = switch_on(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0)
        r = switch_on(descriptor, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    return r;
}

/* The first of ours says that it shares only once it is bound: so it is refused where another program's socket is,
 * even one that shares, and ours that follow find one that does. */
static int bind_and_listen(int descriptor, const union address *address, socklen_t size, bool is_first)
{
    bool shares = address->any.sa_family != AF_UNIX;
    int r = is_first || !shares ? 0 : switch_on(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);

    if (r == 0 && bind(descriptor, &address->any, size) < 0)
        r = -errno;
    if (r == 0 && is_first && shares)
        r = switch_on(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && listen(descriptor, BACKLOG) < 0)
        r = -errno;
    return r;
}

static void name_it(struct listening *listening)
{
    char host[INET6_ADDRSTRLEN], name[INET6_ADDRSTRLEN + 16];
    union address address = {0};
    socklen_t size = sizeof(address);

    getsockname(listening->descriptor, &address.any, &size);
    if (address.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
        listening->port = ntohs(address.v6.sin6_port);
        snprintf(name, sizeof(name), "[%s]:%u", host, listening->port);
    } else {
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
        listening->port = ntohs(address.v4.sin_port);
        snprintf(name, sizeof(name), "%s:%u", host, listening->port);
    }
    listening->name = alloc_text(name);
}

static int open_tcp(struct listening *listening, const struct config_address *address, int first)
{
    union address where;
    socklen_t size;
    int r = resolve(address, &where, &size);

    if (r < 0)
        return r;
    listening->descriptor = socket(where.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening->descriptor < 0)
        return -errno;
    r = tune(listening->descriptor, where.any.sa_family);
    if (r == 0)
        r = bind_and_listen(listening->descriptor, &where, size, first < 0);
    if (r == 0)
        name_it(listening);
    return r;
}

/* Take away the socket file that a dead process left behind; a living one answers. */
static int remove_stale(const union address *address)
{
    struct stat status;
    int probe, error = 0;

    if (lstat(address->local.sun_path, &status) < 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return -EADDRINUSE;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, &address->any, sizeof(address->local)) < 0)
        error = errno;
    close(probe);
    if (error != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(address->local.sun_path) < 0 ? -errno : 0;
}

static int bind_local(struct listening *listening, struct bytes path)
{
    union address address = {.local = {.sun_family = AF_UNIX}};
    struct stat status;
    int r;

    memcpy(address.local.sun_path, path.data, path.size);
    r = remove_stale(&address);
    if (r < 0)
        return r;
    listening->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening->descriptor < 0)
        return -errno;
    r = bind_and_listen(listening->descriptor, &address, sizeof(address.local), true);
    if (r == 0 && lstat(address.local.sun_path, &status) == 0) {
        listening->path = alloc_text(address.local.sun_path);
        listening->device = status.st_dev;
        listening->inode = status.st_ino;
    }
    return r;
}

static int open_local(struct listening *listening, struct bytes path, int first)
{
    char name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8];

    if (path.size >= sizeof(((struct sockaddr_un *)NULL)->sun_path) || memchr(path.data, 0, path.size))
        return -ENAMETOOLONG;
    snprintf(name, sizeof(name), "unix:%.*s", BYTES_ARG(path));
    listening->name = alloc_text(name);
    if (first < 0)
        return bind_local(listening, path);
    listening->descriptor = fcntl(first, F_DUPFD_CLOEXEC, 0);
    return listening->descriptor < 0 ? -errno : 0;
}

/* The file goes with us, unless somebody else has put his own there meanwhile. */
static void remove_file(const struct listening *listening)
{
    struct stat status;

    if (listening->path && lstat(listening->path, &status) == 0 && status.st_dev == listening->device &&
        status.st_ino == listening->inode)
        unlink(listening->path);
}

int listening_init(struct listening *listening, const struct config_address *address, int first)
{
    int r;

    *listening = (struct listening){.descriptor = -1};
    if (address->unix_path.size)
        r = open_local(listening, address->unix_path, first);
    else
        r = open_tcp(listening, address, first);
    if (r < 0)
        listening_deinit(listening);
    return r;
}

void listening_deinit(struct listening *listening)
{
    remove_file(listening);
    if (listening->descriptor >= 0)
        close(listening->descriptor);
    listening->descriptor = -1;
    listening->name = alloc_free(listening->name);
    listening->path = alloc_free(listening->path);
}
