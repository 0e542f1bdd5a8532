//! The lessons: narrated experiments on real sockets, in one process and one thread.
