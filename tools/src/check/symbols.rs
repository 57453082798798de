//! Which functions of libc touch sockets.

/// Functions through which a program can touch a descriptor that may be an
/// accelerated socket, and what each does to it. What makes or leaves kernel
/// sockets alone is not among them: bind(2), fork(2), execve(2) and their like, and
/// what refuses a socket as it refuses what keeps an accelerated one's number:
/// tee(2), vmsplice(2), copy_file_range(2).
pub const TOUCHES_SOCKETS: &[(&str, &str)] = &[
    ("_Exit", "ends the process"),
    ("_IO_fdopen", "wraps a number in a stream"),
    ("__close", "closes"),
    ("__connect", "connects"),
    ("__dprintf_chk", "prints to a number"),
    ("__dup2", "copies a number"),
    ("__fcntl", "changes a number or its flags"),
    ("__fxstat", "asks for the file's kind"),
    ("__fxstat64", "asks for the file's kind"),
    ("__lseek", "asks for a position"),
    ("__poll", "waits"),
    ("__poll_chk", "waits"),
    ("__ppoll_chk", "waits"),
    ("__pread64", "reads at a position"),
    ("__pread64_chk", "reads at a position"),
    ("__pread_chk", "reads at a position"),
    ("__pwrite64", "writes at a position"),
    ("__read", "reads"),
    ("__read_chk", "reads"),
    ("__recv", "reads"),
    ("__recv_chk", "reads"),
    ("__recvfrom_chk", "reads"),
    ("__select", "waits"),
    ("__send", "writes"),
    ("__sendmmsg", "writes"),
    ("__vdprintf_chk", "prints to a number"),
    ("__write", "writes"),
    ("_exit", "ends the process"),
    ("accept", "accepts"),
    ("accept4", "accepts"),
    ("aio_read", "reads or writes in the background"),
    ("aio_read64", "reads or writes in the background"),
    ("aio_write", "reads or writes in the background"),
    ("aio_write64", "reads or writes in the background"),
    ("close", "closes"),
    ("close_range", "closes a range of numbers"),
    ("closefrom", "closes a range of numbers"),
    ("connect", "connects"),
    ("dprintf", "prints to a number"),
    ("dup", "copies a number"),
    ("dup2", "copies a number"),
    ("dup3", "copies a number"),
    ("epoll_create", "makes an event set"),
    ("epoll_create1", "makes an event set"),
    ("epoll_ctl", "changes an event set"),
    ("epoll_pwait", "waits"),
    ("epoll_pwait2", "waits"),
    ("epoll_wait", "waits"),
    ("fcntl", "changes a number or its flags"),
    ("fcntl64", "changes a number or its flags"),
    ("fdopen", "wraps a number in a stream"),
    ("fstat", "asks for the file's kind"),
    ("fstat64", "asks for the file's kind"),
    ("getpeername", "names its ends"),
    ("getsockname", "names its ends"),
    ("getsockopt", "reads an option"),
    ("ioctl", "asks or sets by number"),
    ("isfdtype", "asks for the file's kind"),
    ("lio_listio", "reads or writes in the background"),
    ("lio_listio64", "reads or writes in the background"),
    ("listen", "listens"),
    ("lseek", "asks for a position"),
    ("lseek64", "asks for a position"),
    ("poll", "waits"),
    ("ppoll", "waits"),
    ("pread", "reads at a position"),
    ("pread64", "reads at a position"),
    ("preadv", "reads at a position"),
    ("preadv2", "reads at a position"),
    ("preadv64", "reads at a position"),
    ("preadv64v2", "reads at a position"),
    ("pselect", "waits"),
    ("pwrite", "writes at a position"),
    ("pwrite64", "writes at a position"),
    ("pwritev", "writes at a position"),
    ("pwritev2", "writes at a position"),
    ("pwritev64", "writes at a position"),
    ("pwritev64v2", "writes at a position"),
    ("read", "reads"),
    ("readv", "reads"),
    ("recv", "reads"),
    ("recvfrom", "reads"),
    ("recvmmsg", "reads"),
    ("recvmsg", "reads"),
    ("select", "waits"),
    ("send", "writes"),
    ("sendfile", "copies between descriptors"),
    ("sendfile64", "copies between descriptors"),
    ("sendmmsg", "writes"),
    ("sendmsg", "writes"),
    ("sendto", "writes"),
    ("setsockopt", "sets an option"),
    ("shutdown", "shuts down"),
    ("sockatmark", "asks for urgent data"),
    ("socket", "opens"),
    ("splice", "copies between descriptors"),
    ("statx", "asks for the file's kind"),
    ("syscall", "calls the kernel by number"),
    ("vdprintf", "prints to a number"),
    ("write", "writes"),
    ("writev", "writes"),
];

/// What a function of the table does.
pub fn meaning(name: &str) -> &'static str {
    TOUCHES_SOCKETS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_function_once() {
        assert!(TOUCHES_SOCKETS.is_sorted_by(|left, right| left.0 < right.0));
    }

    #[test]
    fn each_function_has_a_meaning() {
        assert_eq!(meaning("close_range"), "closes a range of numbers");
        assert!(TOUCHES_SOCKETS.iter().all(|(_, meaning)| !meaning.is_empty()));
    }
}
